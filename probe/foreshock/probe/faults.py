"""The one place where the probe's own faults end: caught, counted, told once."""

import logging
import threading
from collections import Counter

from foreshock.probe.errors import ProbeError

_logger = logging.getLogger("foreshock.probe")


class Faults:
    """Counts what went wrong and warns at the first of each kind. Training never sees more.

    Unless it is `strict`, as for tests: then everything told in the thread that made it raises ProbeError.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._strict_thread = threading.get_ident() if strict else None

    def count(self, where: str, error: BaseException) -> None:
        """Counts an error at `where`; the first of its kind becomes one warning in the log."""
        if isinstance(error, ProbeError) and self._strict_thread is not None:
            raise error
        self.tell(f"{where}: {type(error).__name__}", f"{where} failed: {error}")

    def tell(self, kind: str, message: str) -> None:
        """Counts an occurrence of `kind` and logs `message` the first time."""
        if threading.get_ident() == self._strict_thread:
            raise ProbeError(f"{message} (strict=True: this ends training here, and would only be told else)")
        with self._lock:
            self.counts[kind] += 1
            first = self.counts[kind] == 1
        if first:
            _logger.warning("%s (told once, counted from here on; training goes on)", message)

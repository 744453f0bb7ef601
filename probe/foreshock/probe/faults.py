"""The one place where the probe's own faults end: caught, counted, told once."""

import logging
import threading
from collections import Counter

_logger = logging.getLogger("foreshock.probe")


class Faults:
    """Counts what went wrong and warns at the first of each kind. Training never sees more."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, where: str, error: BaseException) -> None:
        """Counts an error at `where`; the first of its kind becomes one warning in the log."""
        self.tell(f"{where}: {type(error).__name__}", f"{where} failed: {error}")

    def tell(self, kind: str, message: str) -> None:
        """Counts an occurrence of `kind` and logs `message` the first time."""
        with self._lock:
            self.counts[kind] += 1
            first = self.counts[kind] == 1
        if first:
            _logger.warning("%s (told once, counted from here on; training goes on)", message)

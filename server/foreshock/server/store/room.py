"""Room for bodies: the memory that appends may take, from their first byte to their receipt."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from foreshock.server.errors import BusyError

# Bodies of live probes are of this size; they find room when large ones have filled theirs
SMALL_BYTES: Final = 64 * 1024
SMALL_SHARE: Final = 0.125


class Room:
    """At most `max_bytes` of bodies, an eighth of it for small ones; one body always finds room."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        """Bytes that are held now."""
        return self._num_bytes

    @contextmanager
    def hold(self, num_bytes: int) -> Iterator[None]:
        """Keeps room for a body while it is received and stored; raises BusyError where there is none."""
        most = self._max_bytes if num_bytes <= SMALL_BYTES else (1 - SMALL_SHARE) * self._max_bytes
        with self._lock:
            if self._num_bytes and self._num_bytes + num_bytes > most:
                raise BusyError(
                    f"bodies of {self._num_bytes} bytes are being stored: send this one of {num_bytes} bytes "
                    "again in a second",
                    headers={"Retry-After": "1"},
                )
            self._num_bytes += num_bytes
        try:
            yield
        finally:
            with self._lock:
                self._num_bytes -= num_bytes

"""Drawn figures, kept as the bytes that viewers get, newest first within a bound."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

Key = tuple[str, str, str, str]

MAX_BYTES: Final = 64 * 2**20


class FigureCache:
    """Bytes by (run, figure, query, freshness); what was used longest ago goes first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[Key, bytes] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Key, draw: Callable[[], bytes]) -> bytes:
        """The figure; drawn outside the lock, so two viewers may draw the same one at the same moment."""
        with self._lock:
            if (held := self._held.get(key)) is not None:
                self._held.move_to_end(key)
                return held
        drawn = draw()
        with self._lock:
            if key not in self._held:
                self._held[key] = drawn
                self._num_bytes += len(drawn)
            while self._num_bytes > self._max_bytes:
                self._num_bytes -= len(self._held.popitem(last=False)[1])
        return drawn

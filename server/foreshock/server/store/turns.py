"""Turns: a lock that is given to whoever has waited longest."""

import threading
from collections import deque
from types import TracebackType


class Turns:
    """A mutual exclusion in order of arrival; `threading.Lock` may pass one that waits by for ever.

    SQLite itself has no queue of writers: they poll, ever more rarely, while one that never pauses takes
    every turn.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False

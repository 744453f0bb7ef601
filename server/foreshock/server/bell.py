"""The bell: tells open pages that something is new, without ever waiting for one of them.

Steps, stored and judged, coalesce: a reader that is slow hears only the newest of each run. Alerts and
states do not; a reader that lets too many of them pile up is cut off, comes back by itself and loads anew.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any, Final

from foreshock.server.errors import BusyError

# Kinds of which only the newest of a run is news: `step`, it has come; `judged`, the judge has been there
COALESCED: Final = frozenset({"step", "judged"})
MAX_WAITING: Final = 256
MAX_RUNS: Final = 1024
MAX_READERS: Final = 256
PAUSE_SECONDS: Final = 0.25

News = tuple[str, dict[str, Any]]


class Subscription:
    """What one reader has not heard yet. Filled from any thread, emptied on the reader's event loop."""

    def __init__(self, run_id: str | None) -> None:
        self._run_id = run_id
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._is_new = asyncio.Event()
        self._newest: dict[tuple[str, str], News] = {}
        self._others: deque[News] = deque()
        self._closed = False

    def put(self, name: str, data: dict[str, Any]) -> None:
        """Adds news; a flood closes the subscription."""
        run_id = str(data.get("run_id"))
        if self._run_id is not None and run_id != self._run_id:
            return
        with self._lock:
            if name in COALESCED:
                self._newest[name, run_id] = (name, data)
            else:
                self._others.append((name, data))
            if len(self._others) > MAX_WAITING or len(self._newest) > len(COALESCED) * MAX_RUNS:
                self._closed = True
        self._wake()

    def close(self) -> None:
        """Ends the reader's stream."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._is_new.set)
        except RuntimeError:  # the reader's loop has ended before its subscription did
            self._closed = True

    async def take(self, timeout_seconds: float) -> list[News] | None:
        """All news there is, after waiting for some; [] when none came in time, None at the end."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._is_new.wait()
        except TimeoutError:
            return []
        self._is_new.clear()
        with self._lock:
            if self._closed:
                return None
            news = [*self._others, *self._newest.values()]
            self._others.clear()
            self._newest.clear()
        return news


class Bell:
    """Publishes to all subscriptions in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    def ring(self, name: str, data: dict[str, Any]) -> None:
        """Tells every reader; returns at once, from any thread."""
        with self._lock:
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            subscription.put(name, data)

    def check_room(self) -> None:
        """Raises BusyError when as many readers listen as may."""
        with self._lock:
            if len(self._subscriptions) >= MAX_READERS:
                raise BusyError(
                    f"{MAX_READERS} pages listen already: close some", headers={"Retry-After": "10"}
                )

    async def listen(self, run_id: str | None, heartbeat_seconds: float) -> AsyncGenerator[list[News], None]:
        """News as they come, of one run or of all; an empty list each `heartbeat_seconds` without any."""
        subscription = Subscription(run_id)
        with self._lock:
            if self._closed:
                return
            self._subscriptions.add(subscription)
        try:
            while (news := await subscription.take(heartbeat_seconds)) is not None:
                yield news
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            with self._lock:
                self._subscriptions.discard(subscription)

    def close(self) -> None:
        """Ends every stream, so that the server can stop."""
        with self._lock:
            self._closed = True
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            subscription.close()

"""Hears, in a thread of its own, that something is new."""

import threading
from typing import Final

from foreshock.query.connection import Connection
from foreshock.query.errors import QueryError

_AGAIN_SECONDS: Final = 2.0


class Doorbell:
    """Listens to the collector's server-sent events; without them whoever waits wakes by the clock.

    `is_live` says whether the events come.
    """

    def __init__(self, connection: Connection, run_id: str | None) -> None:
        self._connection, self._run_id = connection, run_id
        self._rung = threading.Event()
        self._ended = threading.Event()
        self.is_live = False
        self._thread = threading.Thread(target=self._listen, name="foreshock-watch", daemon=True)

    def start(self) -> None:
        """Begins to listen."""
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Until something is new, at most so long."""
        self._rung.wait(seconds)
        self._rung.clear()

    def stop(self) -> None:
        """Ends; what it waits for is left behind with the process."""
        self._ended.set()

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                for _ in self._connection.listen("/events", run_id=self._run_id):
                    self.is_live = True
                    self._rung.set()
            except QueryError:
                pass
            self.is_live = False
            self._rung.set()
            self._ended.wait(_AGAIN_SECONDS)

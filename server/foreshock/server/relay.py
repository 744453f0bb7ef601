"""The bell across replicas: what one collector has stored, the pages of the others hear too.

PostgreSQL carries it by LISTEN and NOTIFY. What it carries are hints, after which pages fetch what is
new; so one that is lost costs a page a moment and nothing else, and nobody ever waits for the relay.
"""

import json
import logging
import threading
import uuid
from collections import deque
from typing import Any, Final

import psycopg
import sqlalchemy as sa

from foreshock.server.bell import COALESCED, Bell, News

CHANNEL: Final = "foreshock_news"
# PostgreSQL carries less than 8,000 bytes
MAX_PAYLOAD_BYTES: Final = 7900
MAX_WAITING: Final = 1024
# What may be long of an alert; pages fetch it
_LONG: Final = frozenset({"reason", "advice"})
POLL_SECONDS: Final = 0.2
PAUSE_SECONDS: Final = 2.0

log = logging.getLogger("foreshock.relay")


class Relay:
    """Rings this process's bell, and by way of the database those of all others."""

    def __init__(self, engine: sa.Engine, bell: Bell) -> None:
        self._address = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._bell = bell
        self._name = uuid.uuid4().hex
        self._lock = threading.Lock()
        # Of each run the newest steps only, as the bell itself does
        self._newest: dict[tuple[str, str], News] = {}
        self._others: deque[News] = deque(maxlen=MAX_WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="foreshock-relay", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def ring(self, name: str, data: dict[str, Any]) -> None:
        """Tells the readers of this process at once, those of others soon."""
        self._bell.ring(name, data)
        with self._lock:
            if name in COALESCED and len(self._newest) < MAX_WAITING:
                self._newest[name, str(data.get("run_id"))] = (name, data)
            elif name not in COALESCED:
                self._others.append((name, data))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(self._address, autocommit=True) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    while not self._stop.is_set():
                        self._carry(connection)
            except psycopg.Error as error:
                log.warning("pages of other collectors are not told of news for now: %s", _first_line(error))
                self._stop.wait(PAUSE_SECONDS)

    def _carry(self, connection: psycopg.Connection[Any]) -> None:
        """One round: tells what has waited, then listens for a moment."""
        for name, data in self._taken():
            connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, self._payload(name, data)))
        for notice in connection.notifies(timeout=POLL_SECONDS):
            sender, name, data = json.loads(notice.payload)
            if sender != self._name:
                self._bell.ring(name, data)

    def _taken(self) -> list[News]:
        with self._lock:
            waiting = [*self._others, *self._newest.values()]
            self._others.clear()
            self._newest.clear()
        return waiting

    def _payload(self, name: str, data: dict[str, Any]) -> str:
        payload = json.dumps((self._name, name, data))
        if len(payload.encode()) <= MAX_PAYLOAD_BYTES:
            return payload
        return json.dumps((self._name, name, {key: data[key] for key in data.keys() - _LONG}))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]

"""The keeper: deletes what its project's limits no longer keep, sweeps deleted runs, gives space back.

One thread, beside which everybody reads and writes on: rows go in slices, each a short transaction, with a
pause as long as the slice took. Killed anywhere, it goes on with what is still there.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from foreshock.server.errors import UnknownRunError
from foreshock.server.store.engine import cause, reading, writing
from foreshock.server.store.retention import TABLES, delete_run, overdue_runs, sweep, unswept_runs
from foreshock.server.store.space import PAGES_AT_ONCE, fold_log, free_pages, give_back, vacuum_tables

Ring = Callable[[str, dict[str, Any]], None]

ROUND_SECONDS: Final = 180.0
MAX_PAUSE_SECONDS: Final = 600.0

log = logging.getLogger("foreshock.keeper")


class Keeper:
    """One thread that makes a round every few minutes, and at once when a run was deleted."""

    def __init__(
        self,
        engine: sa.Engine,
        ring: Ring,
        clock: Callable[[], float] = time.time,
        on_delete: Callable[[str], None] = lambda run_id: None,
    ) -> None:
        """`on_delete` hears of every run that is deleted."""
        self._engine = engine
        self._ring = ring
        self._on_delete = on_delete
        self._clock = clock
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="foreshock-keeper", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the slice it is at."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Says that there is something to sweep."""
        self._wake.set()

    def delete(self, run_id: str) -> None:
        """Deletes a run: nobody sees it from now on, its rows go soon. Raises UnknownRunError."""
        delete_run(self._engine, run_id, self._clock())
        self._ring("run", {"run_id": run_id, "state": "deleted"})
        self._on_delete(run_id)
        self._wake.set()

    def _run(self) -> None:
        # What a collector that was killed has left is swept at once
        pause = 0.0
        while not self._stop.is_set():
            self._wake.wait(pause)
            self._wake.clear()
            try:
                self.run_once()
                pause = ROUND_SECONDS
            except (SQLAlchemyError, sqlite3.Error) as error:  # space is given back through the driver
                pause = min(MAX_PAUSE_SECONDS, 2 * max(pause, 1.0))
                log.warning("the keeper rests for %.0f s: %s", pause, cause(error))

    def run_once(self) -> None:
        """Deletes what is due, sweeps every deleted run, and gives the space back if there was any."""
        with reading(self._engine) as connection:
            due = overdue_runs(connection, self._clock())
        for run_id in due:
            self._retire(run_id)
        with reading(self._engine) as connection:
            unswept = unswept_runs(connection)
        for run_id in unswept:
            self._sweep(run_id)
        if unswept and not self._stop.is_set():
            self._give_space_back()

    def _retire(self, run_id: str) -> None:
        try:
            self.delete(run_id)
        except UnknownRunError:  # another replica, or somebody, was first
            return
        log.info("run %s is deleted: its project's limits no longer keep it", run_id)

    def _sweep(self, run_id: str) -> None:
        begun, num_rows = time.perf_counter(), 0
        for count in sweep(self._engine, run_id):
            num_rows += count
            if self._rest(begun):
                return
            begun = time.perf_counter()
        log.info("run %s: %d rows are gone", run_id, num_rows)

    def _rest(self, begun: float) -> bool:
        """Pauses for as long as the work took; whether it is to end."""
        return self._stop.wait(time.perf_counter() - begun)

    def _give_space_back(self) -> None:
        if self._engine.dialect.name == "postgresql":
            vacuum_tables(self._engine, TABLES)
            return
        with self._engine.connect() as connection:
            free = free_pages(_driver(connection))
        for _ in range(-(-free // PAGES_AT_ONCE)):
            begun = time.perf_counter()
            with writing(self._engine) as connection:
                give_back(_driver(connection))
            if self._rest(begun):
                return
        with self._engine.connect() as connection:
            fold_log(_driver(connection))


def _driver(connection: sa.Connection) -> Any:
    """SQLite's own connection."""
    return connection.connection.driver_connection

"""Appends what probes send: records, cursor and heartbeat in one transaction, many bodies per commit.

A body is read and checked by itself in the thread of its request (`read_body`). One writer thread
then holds it against its cursor and stores it (`AppendLog`), together with all others that wait:
they share one commit, and each is acknowledged after it. A body that is refused takes nothing of
the others with it.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from foreshock.server.errors import ServerError, StorageError
from foreshock.server.metrics import Instruments
from foreshock.server.store.desk import Desk
from foreshock.server.store.engine import storage_error, writing
from foreshock.server.store.entries import Submission
from foreshock.server.store.line import Line, Receipt, Waiting

Ring = Callable[[str, dict[str, object]], None]

# Part of the last commit's time for which a group waits for those who shared it
GATHER_SHARE: Final = 0.5
MAX_GATHER_SECONDS: Final = 0.005


class AppendLog:
    """The one writer: takes submissions, those of each run in order, and commits them in groups.

    Raises BusyError at `submit` when `max_bodies` already wait.
    """

    def __init__(
        self,
        engine: sa.Engine,
        instruments: Instruments,
        ring: Ring,
        *,
        max_bodies: int,
        grace_seconds: float,
    ) -> None:
        self._engine = engine
        self._instruments = instruments
        self._ring = ring
        self._grace_seconds = grace_seconds
        self._line = Line(max_bodies)
        self._open = False
        self._thread = threading.Thread(target=self._run, name="foreshock-append", daemon=True)

    def start(self) -> None:
        """Starts the writer thread."""
        self._open = True
        self._thread.start()

    def stop(self) -> None:
        """Commits what waits, then ends the writer thread."""
        if self._open:
            self._open = False
            self._line.close()
            self._thread.join()

    @property
    def is_running(self) -> bool:
        """Whether appends are taken and stored."""
        return self._open and self._thread.is_alive()

    def submit(self, submission: Submission) -> Future[Receipt]:
        """Queues a submission; its future is done after the commit, or with the problem."""
        if not self._open:
            raise StorageError("the collector is stopping: send again", headers={"Retry-After": "1"})
        waiting = Waiting(submission, Future())
        self._line.put(waiting)
        self._instruments.queue_depth.set(len(self._line))
        return waiting.receipt

    def _run(self) -> None:
        size, seconds = 1, 0.0
        while (group := self._line.take(size, min(MAX_GATHER_SECONDS, GATHER_SHARE * seconds))) is not None:
            self._instruments.queue_depth.set(len(self._line))
            begun = time.perf_counter()
            self._store(group)
            size, seconds = len(group), time.perf_counter() - begun

    def _store(self, group: Sequence[Waiting]) -> None:
        outcomes: list[Receipt | ServerError]
        try:
            outcomes = self._commit([waiting.submission for waiting in group])
        except SQLAlchemyError as error:
            outcomes = [storage_error(error)] * len(group)
        except Exception as error:  # the writer must outlive whatever a single group does to it
            outcomes = [StorageError(f"nothing was stored ({error!r})")] * len(group)
        for waiting, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, ServerError):
                waiting.receipt.set_exception(outcome)
            else:
                waiting.receipt.set_result(outcome)

    def _commit(self, submissions: Sequence[Submission]) -> list[Receipt | ServerError]:
        started = time.perf_counter()
        outcomes: list[Receipt | ServerError] = []
        with writing(self._engine) as connection:
            desk = Desk.load(connection, submissions, self._grace_seconds)
            for submission in submissions:
                try:
                    num_duplicates = desk.accept(submission)
                    place = desk.next_sequence(submission), num_duplicates, desk.last_alert(submission)
                    outcomes.append(Receipt(*place))
                except ServerError as error:
                    outcomes.append(error)
            desk.write(connection)
        self._instruments.commit_seconds.observe(time.perf_counter() - started)
        self._count(desk)
        for name, data in desk.news():
            self._ring(name, data)
        return outcomes

    def _count(self, desk: Desk) -> None:
        self._instruments.records.inc(desk.tally.records)
        self._instruments.points.inc(desk.tally.points)
        self._instruments.bytes.inc(desk.tally.bytes)
        self._instruments.duplicates.inc(desk.tally.duplicates)
        self._instruments.lost_frames.inc(desk.tally.lost_frames)

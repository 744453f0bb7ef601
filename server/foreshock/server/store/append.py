"""Appends what probes send: records, cursor and heartbeat in one transaction, many bodies per commit.

A body is read and checked by itself in the thread of its request (`read_body`). One writer thread
then holds it against its cursor and stores it (`AppendLog`), together with all others that wait:
they share one commit, and each is acknowledged after it. A body that is refused takes nothing of
the others with it.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from foreshock.server.errors import BusyError, ServerError, StorageError
from foreshock.server.metrics import Instruments
from foreshock.server.store.desk import Desk
from foreshock.server.store.engine import storage_error, writing
from foreshock.server.store.entries import Submission

Ring = Callable[[str, dict[str, object]], None]

MAX_GROUP_BODIES: Final = 128
MAX_GROUP_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an append did: where the log stands now, and how much of the body was there already."""

    next_sequence: int
    num_duplicates: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    submission: Submission
    receipt: Future[Receipt]


class AppendLog:
    """The one writer: takes submissions in order of arrival, commits them in groups.

    Raises BusyError at `submit` when `max_bodies` or `max_bytes` already wait.
    """

    def __init__(
        self,
        engine: sa.Engine,
        instruments: Instruments,
        ring: Ring,
        *,
        max_bodies: int,
        max_bytes: int,
        grace_seconds: float,
    ) -> None:
        self._engine = engine
        self._instruments = instruments
        self._ring = ring
        self._max_bytes = max_bytes
        self._grace_seconds = grace_seconds
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue(max_bodies)
        self._num_bytes = 0
        self._bytes_lock = threading.Lock()
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
            self._waiting.put(None)
            self._thread.join()

    @property
    def is_running(self) -> bool:
        """Whether appends are taken and stored."""
        return self._open and self._thread.is_alive()

    def submit(self, submission: Submission) -> Future[Receipt]:
        """Queues a submission; its future is done after the commit, or with the problem."""
        if not self._open:
            raise StorageError("the collector is stopping: send again", headers={"Retry-After": "1"})
        waiting = _Waiting(submission, Future())
        self._reserve(submission.num_bytes)
        try:
            self._waiting.put_nowait(waiting)
        except queue.Full:
            self._reserve(-submission.num_bytes)
            raise self._busy() from None
        self._instruments.queue_depth.set(self._waiting.qsize())
        return waiting.receipt

    def _reserve(self, num_bytes: int) -> None:
        with self._bytes_lock:
            if num_bytes > 0 and self._num_bytes and self._num_bytes + num_bytes > self._max_bytes:
                raise self._busy()
            self._num_bytes += num_bytes

    def _busy(self) -> BusyError:
        return BusyError(
            f"{self._waiting.qsize()} appends with {self._num_bytes} bytes wait for the disk: send this one "
            "again in a second",
            headers={"Retry-After": "1"},
        )

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            self._store(group)

    def _next_group(self) -> list[_Waiting] | None:
        """Waits for a first submission, then takes all that are there; None at the end."""
        first = self._waiting.get()
        if first is None:
            return None
        group, num_bytes = [first], first.submission.num_bytes
        while len(group) < MAX_GROUP_BODIES and num_bytes < MAX_GROUP_BYTES:
            try:
                waiting = self._waiting.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                self._waiting.put(None)
                break
            group.append(waiting)
            num_bytes += waiting.submission.num_bytes
        self._instruments.queue_depth.set(self._waiting.qsize())
        return group

    def _store(self, group: Sequence[_Waiting]) -> None:
        outcomes: list[Receipt | ServerError]
        try:
            outcomes = self._commit([waiting.submission for waiting in group])
        except SQLAlchemyError as error:
            outcomes = [storage_error(error)] * len(group)
        except Exception as error:  # the writer must outlive whatever a single group does to it
            outcomes = [StorageError(f"nothing was stored ({error!r})")] * len(group)
        self._reserve(-sum(waiting.submission.num_bytes for waiting in group))
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
                    outcomes.append(Receipt(desk.next_sequence(submission), num_duplicates))
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

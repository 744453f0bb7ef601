"""Turns batches that were judged into chunks, stream by stream, a window at a time.

Everything slow happens on a snapshot, outside of any transaction: reading, unpacking, compressing. What
is then written (the chunks, how far the stream is in chunks, and that the batches are gone) is one short
transaction, which holds only if the stream is still where it was found. So a compactor may be killed
anywhere, two may work on one database, and a window is in the log or in chunks, never in both or neither.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from foreshock.server.store.cells import StepArray
from foreshock.server.store.chunks import (
    CELL_STEPS,
    MAX_WINDOW_STEPS,
    WINDOW_CELLS,
    Chunk,
    TimeArray,
    pack_window,
)
from foreshock.server.store.engine import cause, reading, writing
from foreshock.server.store.layouts import unpack_names
from foreshock.server.store.runs import hold
from foreshock.server.store.schema import (
    IS_KEPT,
    chunks,
    compactions,
    detector_states,
    envelopes,
    layouts,
    records,
    runs,
)
from foreshock.server.store.streams import STREAM_KEY, Source, at_source, in_log
from foreshock.wire import Batch, batch_steps, batch_times, batch_values, decode_record

WINDOW_STEPS: Final = CELL_STEPS * WINDOW_CELLS
# Steps times columns of a window, at 4 bytes each and a few copies: what compaction holds at once
MAX_WINDOW_VALUES: Final = 4 * 2**20
# An ended or silent attempt is made chunks of to its end after this
QUIET_SECONDS: Final = 60.0
# A compactor works for at most this share of the time, so that appends find the processor free
DUTY: Final = 0.5

log = logging.getLogger("foreshock.compactor")


@dataclass(frozen=True, slots=True)
class Task:
    """A stream of which steps after `upto_step` and up to `ready_step` may become chunks.

    `is_over`: nothing more is expected, so the last window need not be full.
    """

    source: Source
    num_columns: int
    upto_step: int
    ready_step: int
    is_over: bool


@dataclass(frozen=True, slots=True)
class Frames:
    """Steps and times [k], values [columns, k] of a stream's log; `is_whole`: of all that is ready."""

    steps: StepArray
    times: TimeArray
    values: NDArray[np.float32]
    is_whole: bool


class Compactor:
    """One thread that looks for streams with something to do, and does it a window at a time."""

    def __init__(
        self, engine: sa.Engine, clock: Callable[[], float] = time.time, *, pause_seconds: float = 2.0
    ) -> None:
        self._engine = engine
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._stop = threading.Event()
        # Where a stream's next window ends: before that there is nothing to do for it
        self._ends: dict[Source, int] = {}
        # Left alone until the collector starts again
        self._damaged: set[Source] = set()
        self._thread = threading.Thread(target=self._run, name="foreshock-compactor", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; what it was at is left as it was."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause = self._pause_seconds
        while not self._stop.wait(pause):
            try:
                self.run_once()
                pause = self._pause_seconds
            except SQLAlchemyError as error:
                pause = min(2 * pause, 60.0)
                log.warning("compaction rests for %.0f s: %s", pause, cause(error))

    def run_once(self) -> int:
        """Makes chunks of everything that is ready; how many windows that were."""
        with reading(self._engine) as connection:
            tasks = list(_tasks(connection, self._clock()))
        # Compactors of several replicas begin at different places
        random.shuffle(tasks)
        return sum(self._try(task) for task in tasks if not self._stop.is_set())

    def _try(self, task: Task) -> int:
        """One stream that cannot be read must not keep the others in the log; it stays there as it is."""
        if task.source in self._damaged:
            return 0
        try:
            return self._compact(task)
        except SQLAlchemyError:
            raise
        except Exception:
            self._damaged.add(task.source)
            log.exception("%s cannot be compacted and stays in the log: foreshock db verify", task.source)
            return 0

    def _compact(self, task: Task) -> int:
        num_windows, upto = 0, task.upto_step
        while not self._stop.is_set() and (
            task.is_over or task.ready_step >= self._ends.get(task.source, -1)
        ):
            begun = time.perf_counter()
            window = self._next_window(task, upto)
            if window is None:
                break
            packed = list(pack_window(window.steps, window.times, window.values, _width(window.steps)))
            if not self._write(task.source, upto, packed, window.values.size):
                break
            upto, num_windows = int(window.steps[-1]), num_windows + 1
            self._stop.wait((time.perf_counter() - begun) * (1 / DUTY - 1))
        return num_windows

    def _next_window(self, task: Task, upto: int) -> Frames | None:
        """The frames of the next window, None where it is not full yet."""
        with reading(self._engine) as connection:
            frames = _read_frames(connection, task, upto)
        if len(frames.steps) == 0:
            return None
        width = WINDOW_CELLS * _width(frames.steps)
        end = (int(frames.steps[0]) // width + 1) * width
        size = min(int(np.searchsorted(frames.steps, end, "left")), _max_steps(task))
        is_full = size < len(frames.steps) or size == _max_steps(task) or frames.steps[-1] == end - 1
        if not is_full and not (task.is_over and frames.is_whole):
            self._ends[task.source] = end
            return None
        self._ends.pop(task.source, None)
        return Frames(frames.steps[:size], frames.times[:size], frames.values[:, :size], frames.is_whole)

    def _write(self, source: Source, upto: int, packed: Sequence[Chunk], num_points: int) -> bool:
        """Whether the window was written; not where another compactor has come first, or the run is gone."""
        try:
            with writing(self._engine) as connection:
                _write_window(connection, source, upto, packed, num_points)
        except _OvertakenError:
            return False
        return True


class _OvertakenError(Exception):
    """Raised when a stream is no longer where it was found; nothing of the transaction is kept."""


def _write_window(
    connection: sa.Connection, source: Source, upto: int, packed: Sequence[Chunk], num_points: int
) -> None:
    address = asdict(source)
    if not hold(connection, source.run_id):
        raise _OvertakenError
    if upto < 0:
        _begin_stream(connection, address)
    reached, width = packed[-1].last_step, packed[0].cell_width
    moved = {
        "upto_step": reached,
        "cell_width": sa.case((compactions.c.cell_width < width, width), else_=compactions.c.cell_width),
        "num_points": compactions.c.num_points + num_points,
        "num_bytes": compactions.c.num_bytes + sum(chunk.num_bytes for chunk in packed),
    }
    where = (*at_source(compactions, source), compactions.c.upto_step == upto)
    if connection.execute(sa.update(compactions).where(*where).values(moved)).rowcount != 1:
        raise _OvertakenError
    connection.execute(sa.insert(chunks), [{**address, **chunk.row()} for chunk in packed])
    connection.execute(sa.insert(envelopes), [{**address, **chunk.envelope_row()} for chunk in packed])
    connection.execute(sa.delete(records).where(*in_log(source), records.c.last_step <= reached))


def _begin_stream(connection: sa.Connection, address: dict[str, Any]) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    nothing_yet = {"upto_step": -1, "cell_width": 1, "num_points": 0, "num_bytes": 0}
    connection.execute(insert(compactions).values(**address, **nothing_yet).on_conflict_do_nothing())


def _width(steps: StepArray) -> int:
    """Steps of a cell, so that it has about CELL_STEPS frames: by how far apart the first ones lie."""
    near = steps[: WINDOW_STEPS + 1]
    stride = int(near[-1] - near[0]) // max(1, len(near) - 1)
    return CELL_STEPS * (1 << max(0, stride - 1).bit_length())


def _max_steps(task: Task) -> int:
    return max(1, min(MAX_WINDOW_STEPS, MAX_WINDOW_VALUES // task.num_columns))


_SAME_STREAM: Final = sa.and_(*(compactions.c[name] == layouts.c[name] for name in STREAM_KEY))


def _tasks(connection: sa.Connection, now: float) -> Iterator[Task]:
    """Streams that may have a full window, or whose attempt is over and has anything left."""
    upto = sa.func.coalesce(compactions.c.upto_step, -1)
    judged = sa.case(
        (detector_states.c.attempt > layouts.c.attempt, layouts.c.last_step),
        (detector_states.c.attempt == layouts.c.attempt, detector_states.c.judged_step),
        else_=-1,
    )
    is_over = (runs.c.attempt > layouts.c.attempt) | (
        (runs.c.state != "running") & (runs.c.heartbeat_at < now - QUIET_SECONDS)
    )
    query = (
        sa.select(
            layouts.c.run_id,
            layouts.c.rank,
            layouts.c.attempt,
            layouts.c.layout_id,
            layouts.c.columns,
            layouts.c.last_step,
            upto.label("upto_step"),
            judged.label("judged_step"),
            is_over.label("is_over"),
        )
        .select_from(
            layouts.join(runs, runs.c.run_id == layouts.c.run_id)
            .join(detector_states, detector_states.c.run_id == layouts.c.run_id)
            .outerjoin(compactions, _SAME_STREAM)
        )
        .where(
            IS_KEPT,
            layouts.c.last_step > upto,
            judged > upto,
            is_over | (layouts.c.last_step - upto >= WINDOW_STEPS),
        )
        .order_by(layouts.c.run_id, layouts.c.rank, layouts.c.attempt, layouts.c.layout_id)
    )
    for row in connection.execute(query):
        ready = min(row.last_step, row.judged_step)
        is_over = row.is_over and ready == row.last_step
        yield Task(Source(*row[:4]), len(unpack_names(row.columns)), row.upto_step, ready, is_over)


def _read_frames(connection: sa.Connection, task: Task, upto: int) -> Frames:
    """What is ready of the log after `upto`, enough for one window."""
    source, most = task.source, _max_steps(task)
    query = (
        sa.select(records.c.body)
        .where(
            *in_log(source),
            records.c.last_step > upto,
            records.c.first_step <= task.ready_step,
        )
        .order_by(records.c.sequence)
    )
    found: list[tuple[StepArray, TimeArray, NDArray[np.float32]]] = []
    size = 0
    with connection.execute(query.execution_options(yield_per=16)) as rows:
        for (body,) in rows:
            record = decode_record(body)
            assert isinstance(record, Batch)
            steps = batch_steps(record)
            begin, end = np.searchsorted(steps, (upto, task.ready_step), "right").tolist()
            found.append(
                (steps[begin:end], batch_times(record)[begin:end], batch_values(record)[:, begin:end])
            )
            size += end - begin
            if size > most:
                break
    if not found:
        return Frames(np.zeros(0, np.int64), np.zeros(0), np.zeros((task.num_columns, 0), np.float32), True)
    return Frames(
        np.concatenate([steps for steps, _, _ in found]),
        np.concatenate([times for _, times, _ in found]),
        np.concatenate([values for _, _, values in found], axis=1),
        is_whole=size <= most,
    )

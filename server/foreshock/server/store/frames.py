"""The frames of one turn of judging: read record by record, and no more of them than memory should hold.

A record is compressed: a body of four megabytes may carry a billion zeros. So a turn is bounded by what
it unpacks to and not by what lies on disk, and of each record only the columns and frames are kept that
the rules look at in this turn. Where a turn ends changes nothing of what is found.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import sqlalchemy as sa

from foreshock.server.detection.context import IndexArray, judged_places
from foreshock.server.detection.joining import RankFrames
from foreshock.server.detection.sample import StepArray
from foreshock.server.detection.watermark import Absence, is_absent
from foreshock.server.store.layouts import unpack_names
from foreshock.server.store.schema import layouts, records
from foreshock.wire import Batch, batch_part, batch_steps, batch_times, decode_record

MAX_STEPS_PER_TURN: Final = 1024
# Steps x ranks x columns: what the merged samples of a turn hold, at 9 bytes each
MAX_VALUES_PER_TURN: Final = 2**20

_SAME_LAYOUT: Final = (
    (layouts.c.run_id == records.c.run_id)
    & (layouts.c.rank == records.c.rank)
    & (layouts.c.attempt == records.c.attempt)
    & (layouts.c.layout_id == records.c.layout_id)
)


@dataclass(frozen=True, slots=True)
class Span:
    """What a turn is to judge: steps with after < step <= upto of one attempt."""

    run_id: str
    attempt: int
    after: int
    upto: int


@dataclass(frozen=True, slots=True)
class _Stream:
    """The columns of a layout that are judged, and their places in its batches."""

    names: tuple[str, ...]
    places: IndexArray


@dataclass(frozen=True, slots=True, order=True)
class _Address:
    """One batch in the log."""

    rank: int
    layout_id: int
    sequence: int
    first_step: int


def bound_batches(connection: sa.Connection, span: Span, max_batches: int) -> Span:
    """The span up to the end of at most `max_batches` batches of the stream "step"."""
    query = (
        sa.select(records.c.last_step)
        .join(layouts, _SAME_LAYOUT)
        .where(
            records.c.run_id == span.run_id,
            records.c.attempt == span.attempt,
            records.c.kind == "batch",
            records.c.last_step > span.after,
            layouts.c.stream == "step",
        )
        .order_by(records.c.last_step)
        .limit(1)
        .offset(max_batches - 1)
    )
    last = connection.execute(query).scalar_one_or_none()
    return span if last is None else replace(span, upto=min(span.upto, int(last)))


def read_frames(
    connection: sa.Connection,
    span: Span,
    absences: Sequence[Absence] = (),
    is_stopped: Callable[[], bool] = lambda: False,
    own_series: frozenset[str] = frozenset(),
) -> tuple[list[RankFrames], int]:
    """Frames of a span's beginning, in the order of rank, layout and sequence, and up to which step.

    All frames up to that step are there. None are, and the step is `span.after`, when it was stopped.
    """
    streams = _read_streams(connection, span, own_series)
    pile = _Pile(span, _max_steps(streams), absences)
    for address in _addresses(connection, span):
        if is_stopped():
            return [], span.after
        # In the order of their first steps: what the pile has no room for begins even later
        if address.first_step > pile.upto:
            break
        if (batch := _read_batch(connection, span, address)) is not None:
            pile.add(address, streams[address.rank, address.layout_id], batch)
    return pile.frames(), pile.upto


class _Pile:
    """Frames that are taken until there are enough steps; then later ones give way to earlier ones."""

    def __init__(self, span: Span, max_steps: int, absences: Sequence[Absence]) -> None:
        self.upto = span.upto
        self._after = span.after
        self._max_steps = max_steps
        self._absences = absences
        self._steps: StepArray = np.empty(0, np.int64)
        self._frames: dict[_Address, RankFrames] = {}

    def add(self, address: _Address, stream: _Stream, batch: Batch) -> None:
        steps = batch_steps(batch)
        start, end = np.searchsorted(steps, (self._after, self.upto), "right").tolist()
        if end - start > self._max_steps:
            end = start + self._max_steps
            self.upto = int(steps[end - 1])
        within = slice(start, end)
        frames = RankFrames(
            address.rank,
            stream.names,
            steps[within],
            batch_times(batch)[within],
            batch_part(batch, stream.places, within),
        )
        frames = self._without_absent(frames)
        self._frames[address] = frames
        self._steps = np.union1d(self._steps, frames.steps)
        if len(self._steps) > self._max_steps:
            self._steps = self._steps[: self._max_steps]
            self.upto = min(self.upto, int(self._steps[-1]))

    def frames(self) -> list[RankFrames]:
        cut = [_up_to(self._frames[address], self.upto) for address in sorted(self._frames)]
        return [frames for frames in cut if len(frames.steps)]

    def _without_absent(self, frames: RankFrames) -> RankFrames:
        if not any(one.rank == frames.rank for one in self._absences):
            return frames
        here = [not is_absent(self._absences, frames.rank, step) for step in frames.steps.tolist()]
        return _chosen(frames, np.flatnonzero(here))


def _up_to(frames: RankFrames, upto: int) -> RankFrames:
    end = int(np.searchsorted(frames.steps, upto, "right"))
    return frames if end == len(frames.steps) else _chosen(frames, np.arange(end))


def _chosen(frames: RankFrames, kept: IndexArray) -> RankFrames:
    return RankFrames(
        frames.rank, frames.columns, frames.steps[kept], frames.times[kept], frames.values[:, kept]
    )


def _max_steps(streams: dict[tuple[int, int], _Stream]) -> int:
    """How many steps a turn may have: merged, each has room for every column of every rank."""
    num_ranks = len({rank for rank, _ in streams})
    num_columns = len({name for stream in streams.values() for name in stream.names})
    return max(1, min(MAX_STEPS_PER_TURN, MAX_VALUES_PER_TURN // max(1, num_ranks * num_columns)))


def _read_streams(
    connection: sa.Connection, span: Span, own_series: frozenset[str]
) -> dict[tuple[int, int], _Stream]:
    query = sa.select(layouts.c.rank, layouts.c.layout_id, layouts.c.columns).where(
        layouts.c.run_id == span.run_id, layouts.c.attempt == span.attempt
    )
    streams = {}
    for row in connection.execute(query):
        names = unpack_names(row.columns)
        places = judged_places(names, own_series)
        streams[row.rank, row.layout_id] = _Stream(tuple(names[place] for place in places.tolist()), places)
    return streams


def _addresses(connection: sa.Connection, span: Span) -> list[_Address]:
    """Where a span's batches are, without their bodies: sorting those would hold them all."""
    columns = (records.c.rank, records.c.layout_id, records.c.sequence, records.c.first_step)
    query = (
        sa.select(*columns)
        .where(
            records.c.run_id == span.run_id,
            records.c.attempt == span.attempt,
            records.c.kind == "batch",
            records.c.last_step > span.after,
            records.c.first_step <= span.upto,
        )
        .order_by(records.c.first_step, records.c.rank, records.c.sequence)
    )
    return [_Address(*row) for row in connection.execute(query)]


def _read_batch(connection: sa.Connection, span: Span, address: _Address) -> Batch | None:
    query = sa.select(records.c.body).where(
        records.c.run_id == span.run_id,
        records.c.rank == address.rank,
        records.c.attempt == span.attempt,
        records.c.sequence == address.sequence,
    )
    record = decode_record(connection.execute(query).scalar_one())
    return record if isinstance(record, Batch) else None

"""When steps were made: some of the times that the probes sent, enough to lay figures over wall time."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import sqlalchemy as sa

from foreshock.server.store.cells import StepArray
from foreshock.server.store.chunks import TimeArray, unpack_steps, unpack_times
from foreshock.server.store.schema import chunks, records
from foreshock.server.store.streams import Stream, in_log
from foreshock.server.store.windows import END_OF_STEPS, Span, at_part
from foreshock.wire import Batch, batch_steps, batch_times, decode_record
from foreshock.wire.readings import Clock

# Of a long run each of so many windows tells its first and its last moment
_MAX_WINDOWS: Final = 128
_MAX_RECORDS: Final = 128

_Told = tuple[StepArray, TimeArray]


def read_clock(connection: sa.Connection, streams: Sequence[Stream], span: Span) -> Clock | None:
    """The clock of the lowest rank over a span; None where none of its steps has a time.

    A clock that went back stands still until time has caught up.
    """
    streams = [one for one in streams if one.first_step >= 0]
    lowest = min((one.source.rank for one in streams), default=0)
    of_rank = [one for one in streams if one.source.rank == lowest]
    densest = [one for one in of_rank if one.name == "step"] or of_rank[:1]
    told = [part for stream in densest for part in _read(connection, stream, span)]
    if not told:
        return None
    steps = np.concatenate([steps for steps, _ in told])
    seconds = np.concatenate([times for _, times in told])
    here = (steps >= span.start) & (steps < span.stop) & np.isfinite(seconds)
    order = np.argsort(steps[here], kind="stable")
    steps, seconds = steps[here][order], np.maximum.accumulate(seconds[here][order])
    if not len(steps):
        return None
    first = min(densest, key=lambda one: one.first_step)
    began = _read(connection, first, Span(first.first_step, first.first_step + 1))
    moment = float(began[0][1][0]) if began else float(seconds[0])
    return Clock(min(moment, float(seconds[0])), steps, seconds)


def _read(connection: sa.Connection, stream: Stream, span: Span) -> list[_Told]:
    found = _of_chunks(connection, stream, span) if stream.upto_step >= span.start else []
    return [*found, *_of_log(connection, stream, span)]


def _of_chunks(connection: sa.Connection, stream: Stream, span: Span) -> list[_Told]:
    where = (
        *at_part(chunks, stream.source, 0),
        chunks.c.last_step >= span.start,
        chunks.c.first_step < span.stop,
    )
    firsts = connection.execute(sa.select(chunks.c.first_step).where(*where).order_by(chunks.c.first_step))
    chosen, all_told = _some(firsts.scalars().all(), _MAX_WINDOWS)
    rows = connection.execute(
        sa.select(chunks.c.steps, chunks.c.times)
        .where(*where, chunks.c.first_step.in_(chosen))
        .order_by(chunks.c.first_step)
    )
    told = [(unpack_steps(row.steps), unpack_times(row.times)) for row in rows]
    return told if all_told else [(steps[[0, -1]], times[[0, -1]]) for steps, times in told]


def _of_log(connection: sa.Connection, stream: Stream, span: Span) -> list[_Told]:
    where = (
        *in_log(stream.source),
        records.c.last_step >= max(span.start, stream.upto_step + 1),
        records.c.first_step < min(span.stop, END_OF_STEPS),
    )
    numbers = connection.execute(sa.select(records.c.sequence).where(*where).order_by(records.c.sequence))
    chosen, _ = _some(numbers.scalars().all(), _MAX_RECORDS)
    bodies = connection.execute(
        sa.select(records.c.body).where(*where, records.c.sequence.in_(chosen)).order_by(records.c.sequence)
    )
    batches = [decode_record(body) for body in bodies.scalars()]
    return [(batch_steps(one), batch_times(one)) for one in batches if isinstance(one, Batch)]


def _some(found: Sequence[int], most: int) -> tuple[list[int], bool]:
    """At most so many, evenly spread, the last among them; and whether these are all."""
    if len(found) <= most:
        return list(found), True
    return [found[at] for at in np.unique(np.linspace(0, len(found) - 1, most).astype(int))], False

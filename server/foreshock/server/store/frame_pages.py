"""Frames as they were sent, page by page: everything that is stored, with nothing joined or reduced."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import sqlalchemy as sa

from foreshock.server.errors import InvalidError
from foreshock.server.store.cells import StepArray
from foreshock.server.store.chunks import (
    CELL_STEPS,
    PART_COLUMNS,
    WINDOW_CELLS,
    TimeArray,
    ValueArray,
    unpack_columns,
    unpack_steps,
    unpack_times,
)
from foreshock.server.store.engine import reading
from foreshock.server.store.schema import chunks, records
from foreshock.server.store.streams import Stream, in_log, read_streams
from foreshock.server.store.windows import Span, at_part, part_width
from foreshock.wire import Batch, batch_part, batch_steps, batch_times, decode_record

MAX_VALUES: Final = 4 * 2**20


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """Where a page ended: the stream, and the last step of it that was told."""

    rank: int
    layout_id: int
    step: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises InvalidError for anything that no page has given out."""
        parts = text.split(".")
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
            raise InvalidError(
                f"no page has given out the cursor {text[:60]!r}: send the `next` of the page before, or none"
            )
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return f"{self.rank}.{self.layout_id}.{self.step}"


@dataclass(frozen=True, slots=True)
class Block:
    """Some columns of one stream over some steps: steps and times [k], values float32 [columns, k]."""

    rank: int
    layout_id: int
    stream: str
    columns: tuple[str, ...]
    steps: StepArray
    times: TimeArray
    values: ValueArray


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader asks for: no columns means all of them, no rank every rank."""

    attempt: int
    columns: frozenset[str]
    rank: int | None
    span: Span
    max_values: int


def read_page(
    engine: sa.Engine, run_id: str, wanted: Wanted, after: Cursor | None
) -> tuple[list[Block], Cursor | None]:
    """Blocks by rank, layout and step, and the cursor from which to go on; None at the end.

    A page ends with the block that reaches `max_values`; a block is at most one window longer.
    """
    blocks: list[Block] = []
    room = wanted.max_values
    with reading(engine) as connection:
        for stream in read_streams(connection, run_id, wanted.attempt):
            names = tuple(name for name in stream.places if not wanted.columns or name in wanted.columns)
            if not names or wanted.rank not in (None, stream.source.rank):
                continue
            here = (stream.source.rank, stream.source.layout_id)
            if after is not None and here < (after.rank, after.layout_id):
                continue
            start = wanted.span.start
            if after is not None and here == (after.rank, after.layout_id):
                start = max(start, after.step + 1)
            span = Span(start, wanted.span.stop)
            while (block := _next_block(connection, stream, names, span, room)) is not None:
                blocks.append(block)
                room -= block.values.size
                last = int(block.steps[-1])
                if room <= 0:
                    return blocks, Cursor(*here, last)
                span = Span(last + 1, span.stop)
    return blocks, None


def _next_block(
    connection: sa.Connection, stream: Stream, names: tuple[str, ...], span: Span, room: int
) -> Block | None:
    places = [stream.places[name] for name in names]
    read = _from_chunks if span.start <= stream.upto_step else _from_log
    found = read(connection, stream, places, span, max(1, room // len(names)))
    if found is None:
        return None
    return Block(stream.source.rank, stream.source.layout_id, stream.name, names, *found)


Found = tuple[StepArray, TimeArray, ValueArray]


def _from_chunks(
    connection: sa.Connection, stream: Stream, places: Sequence[int], span: Span, most: int
) -> Found | None:
    """The span's first windows, until there are `most` steps."""
    windows = _first_windows(connection, stream, span, most)
    if not windows:
        return None
    steps = np.concatenate([unpack_steps(one.steps) for one in windows])
    times = np.concatenate([unpack_times(one.times) for one in windows])
    values = np.empty((len(places), len(steps)), np.float32)
    for part in sorted({place // PART_COLUMNS for place in places}):
        rows = [row for row, place in enumerate(places) if place // PART_COLUMNS == part]
        inside = [places[row] % PART_COLUMNS for row in rows]
        bodies = sa.select(chunks.c.body).where(
            *at_part(chunks, stream.source, part),
            chunks.c.first_step.between(windows[0].first_step, windows[-1].first_step),
        )
        begin, width = 0, part_width(stream, part)
        found = connection.execute(bodies.order_by(chunks.c.first_step))
        for one, (body,) in zip(windows, found, strict=True):
            end = begin + one.num_steps
            values[rows, begin:end] = unpack_columns(body, width, inside, one.num_steps)
            begin = end
    begin, end = np.searchsorted(steps, (span.start, span.stop), "left").tolist()
    # Nothing where the span lies between two steps: then nothing later is in it either
    return None if begin == end else (steps[begin:end], times[begin:end], values[:, begin:end])


def _first_windows(connection: sa.Connection, stream: Stream, span: Span, most: int) -> Sequence[Any]:
    query = (
        sa.select(chunks.c.first_step, chunks.c.num_steps, chunks.c.steps, chunks.c.times)
        .where(
            *at_part(chunks, stream.source, 0),
            chunks.c.last_step >= span.start,
            chunks.c.first_step < span.stop,
        )
        .order_by(chunks.c.first_step)
        .limit(1 + most // (CELL_STEPS * WINDOW_CELLS))
    )
    windows = connection.execute(query).all()
    ends = np.cumsum([one.num_steps for one in windows])
    return windows[: int(np.searchsorted(ends, most)) + 1]


def _from_log(
    connection: sa.Connection, stream: Stream, places: Sequence[int], span: Span, most: int
) -> Found | None:
    source = stream.source
    query = (
        sa.select(records.c.body)
        .where(
            *in_log(source),
            records.c.last_step >= span.start,
            records.c.first_step < span.stop,
        )
        .order_by(records.c.sequence)
    )
    found: list[Found] = []
    size = 0
    with connection.execute(query.execution_options(yield_per=16)) as rows:
        for (body,) in rows:
            batch = decode_record(body)
            assert isinstance(batch, Batch)
            steps = batch_steps(batch)
            begin, end = np.searchsorted(steps, (span.start, span.stop), "left").tolist()
            end = min(end, begin + most - size)
            here = slice(begin, end)
            found.append((steps[here], batch_times(batch)[here], batch_part(batch, places, here)))
            size += end - begin
            if size >= most:
                break
    if size == 0:
        return None
    return (
        np.concatenate([of for of, _, _ in found]),
        np.concatenate([of for _, of, _ in found]),
        np.concatenate([of for _, _, of in found], axis=1),
    )


def page_as_values(
    run_id: str, attempt: int, blocks: Sequence[Block], after: Cursor | None
) -> dict[str, Any]:
    """A page with its arrays as bytes, little-endian: int64, float64 and float32."""
    return {
        "run_id": run_id,
        "attempt": attempt,
        "blocks": [
            {
                "rank": block.rank,
                "layout_id": block.layout_id,
                "stream": block.stream,
                "columns": block.columns,
                "steps": block.steps.astype("<i8").tobytes(),
                "times": block.times.astype("<f8").tobytes(),
                "values": np.ascontiguousarray(block.values, "<f4").tobytes(),
            }
            for block in blocks
        ],
        "next": None if after is None else str(after),
    }

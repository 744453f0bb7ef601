"""Reads a stream whole: its chunks or their envelopes, then what of it is still in the log.

Everything is read on one connection that sees one snapshot, so that what moves from the log into chunks
in the meantime is seen once. Zoomed out, envelopes are read and no value is unpacked; the cells of
streams that were looked at are kept, within a bound of memory, since chunks never change.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from foreshock.server.store.cells import Cells, StepArray
from foreshock.server.store.chunks import (
    PART_COLUMNS,
    WINDOW_CELLS,
    unpack_cells,
    unpack_columns,
    unpack_steps,
)
from foreshock.server.store.schema import chunks, envelopes
from foreshock.server.store.streams import Source, Stream, at_source
from foreshock.server.store.tracks import TrackCache
from foreshock.wire import is_missing

Level = Literal["cells", "summary"]

END_OF_STEPS: Final = 2**62


@dataclass(frozen=True, slots=True)
class Span:
    """Steps from `start` up to, not including, `stop`."""

    start: int = 0
    stop: int = END_OF_STEPS


EVERYTHING: Final = Span()


class Windows:
    """Values and cells of streams, from wherever they are stored."""

    def __init__(self, max_bytes: int) -> None:
        self._tails = TrackCache(max_bytes // 2)
        self._envelopes = _EnvelopeCache(max_bytes // 2)

    def values(
        self, connection: sa.Connection, stream: Stream, names: Sequence[str], span: Span
    ) -> tuple[StepArray, NDArray[np.float32]]:
        """Steps [k] and values [names, k], bit for bit, with MISSING where a column had none."""
        places = [stream.places[name] for name in names]
        parts = [_read_chunks(connection, stream, places, span)] if stream.upto_step >= span.start else []
        if stream.last_step > stream.upto_step and span.stop > stream.upto_step:
            parts.append(_within(*self._tails.read(connection, stream, places), span))
        if not parts:
            return np.zeros(0, np.int64), np.zeros((len(places), 0), np.float32)
        return np.concatenate([steps for steps, _ in parts]), np.concatenate([of for _, of in parts], axis=1)

    def cells(
        self, connection: sa.Connection, stream: Stream, names: Sequence[str], span: Span, width: int
    ) -> Cells:
        """The names' cells of `width` steps; a span must begin and end at the edges of such cells."""
        if width < stream.cell_width or stream.upto_step < span.start:
            steps, values = self.values(connection, stream, names, span)
            return Cells.of(steps, values, ~is_missing(values), width)
        places = [stream.places[name] for name in names]
        level: Level = "cells" if width < WINDOW_CELLS * stream.cell_width else "summary"
        told = self._envelopes.read(connection, stream, level, places).between(span.start, span.stop)
        tail = _within(*self._tails.read(connection, stream, places), span)
        rest = Cells.of(*tail, ~is_missing(tail[1]), width)
        return Cells.join([told.widen(width), rest], len(places)).widen(width)


def _within(
    steps: StepArray, values: NDArray[np.float32], span: Span
) -> tuple[StepArray, NDArray[np.float32]]:
    begin, end = np.searchsorted(steps, (span.start, span.stop), "left").tolist()
    return steps[begin:end], values[:, begin:end]


def _read_chunks(
    connection: sa.Connection, stream: Stream, places: Sequence[int], span: Span
) -> tuple[StepArray, NDArray[np.float32]]:
    """Steps [k] and values [places, k] of what is in chunks."""
    rows_of: dict[int, list[int]] = {}
    for row, place in enumerate(places):
        rows_of.setdefault(place // PART_COLUMNS, []).append(row)
    steps: StepArray = np.zeros(0, np.int64)
    values: NDArray[np.float32] | None = None
    for part, rows in rows_of.items():
        found = connection.execute(
            sa.select(chunks.c.num_steps, chunks.c.steps, chunks.c.body)
            .where(
                *at_part(chunks, stream.source, part),
                chunks.c.last_step >= span.start,
                chunks.c.first_step < span.stop,
            )
            .order_by(chunks.c.first_step)
        ).all()
        if values is None:
            told = [unpack_steps(row.steps) for row in found]
            steps = np.concatenate(told) if told else steps
            values = np.empty((len(places), len(steps)), np.float32)
        inside, width, begin = [places[row] % PART_COLUMNS for row in rows], part_width(stream, part), 0
        for num_steps, _, body in found:
            values[rows, begin : begin + num_steps] = unpack_columns(body, width, inside, num_steps)
            begin += num_steps
    assert values is not None
    return _within(steps, values, span)


def part_width(stream: Stream, part: int) -> int:
    """How many columns a part of a stream has."""
    return min(PART_COLUMNS, len(stream.places) - part * PART_COLUMNS)


def at_part(table: sa.Table, source: Source, part: int) -> tuple[sa.ColumnElement[bool], ...]:
    """The rows of one part of a stream."""
    return (*at_source(table, source), table.c.part == part)


def _up_to(cells: Cells, step: int) -> Cells:
    """What a reader may see whose snapshot is older than what another reader has brought here."""
    ends = np.where(cells.count > 0, cells.last_step, -1).max(axis=0)
    return cells.first_ones(int(np.count_nonzero(ends <= step)))


@dataclass(slots=True)
class _Held:
    """Cells of all columns of one part, up to `upto_step`."""

    cells: Cells
    upto_step: int

    @property
    def num_bytes(self) -> int:
        return 72 * self.cells.count.size + 8 * len(self.cells.edge)


class _EnvelopeCache:
    """The envelopes read last, unpacked and extended as windows are added to a stream."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[tuple[Source, Level, int], _Held] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, connection: sa.Connection, stream: Stream, level: Level, places: Sequence[int]) -> Cells:
        """Cells [places, n] of everything in chunks."""
        found: list[Cells] = []
        edge = np.zeros(0, np.int64)
        # Neighbours lie in one part: consecutive layers of a series are read together
        for part, of_part in groupby(places, lambda place: place // PART_COLUMNS):
            cells = self._part(connection, stream, level, part)
            found.append(cells.chosen([place % PART_COLUMNS for place in of_part]))
            edge = cells.edge
        names = [name for name in Cells.__dataclass_fields__ if name != "edge"]
        return Cells(edge, **{name: np.concatenate([getattr(of, name) for of in found]) for name in names})

    def _part(self, connection: sa.Connection, stream: Stream, level: Level, part: int) -> Cells:
        key = (stream.source, level, part)
        with self._lock:
            held = self._held.get(key)
        if held is None or held.upto_step < stream.upto_step:
            held = self._extended(connection, stream, level, part, held)
            with self._lock:
                self._held[key] = held
                self._held.move_to_end(key)
                self._trim()
        return held.cells if held.upto_step == stream.upto_step else _up_to(held.cells, stream.upto_step)

    def _extended(
        self, connection: sa.Connection, stream: Stream, level: Level, part: int, held: _Held | None
    ) -> _Held:
        width = part_width(stream, part)
        query = (
            sa.select(envelopes.c[level])
            .where(
                *at_part(envelopes, stream.source, part),
                envelopes.c.first_step > (held.upto_step if held else -1),
            )
            .order_by(envelopes.c.first_step)
        )
        new = [unpack_cells(blob, range(width)) for (blob,) in connection.execute(query)]
        return _Held(Cells.join([*([held.cells] if held else []), *new], width), stream.upto_step)

    def _trim(self) -> None:
        held = sum(one.num_bytes for one in self._held.values())
        while held > self._max_bytes:
            _, oldest = self._held.popitem(last=False)
            held -= oldest.num_bytes

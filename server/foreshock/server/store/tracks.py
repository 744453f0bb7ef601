"""Decoded columns, kept between requests, so that a live page decodes each batch once.

A `Track` holds columns of one layout of one writer, over all of its steps so far, and grows as
records arrive: all columns while the stream is small, so that the figures of a page decode it once
between them, else those that were asked for. The `TrackCache` drops the tracks that were used longest
ago when memory runs out.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from foreshock.server.store.schema import records
from foreshock.wire import Batch, batch_part, batch_steps, decode_record

Values = NDArray[np.float32]
Steps = NDArray[np.int64]

_FIRST_CAPACITY: Final = 1024
MAX_WHOLE_BYTES: Final = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Source:
    """A stream's address: the writer and its layout."""

    run_id: str
    rank: int
    attempt: int
    layout_id: int


@dataclass(frozen=True, slots=True)
class Extent:
    """How large a stream is by now: its columns, and at most so many steps."""

    num_columns: int
    num_steps: int

    @property
    def is_small(self) -> bool:
        """Whether all of its columns may be held."""
        return 4 * self.num_columns * self.num_steps <= MAX_WHOLE_BYTES


class Track:
    """Columns of one source as float32 [columns, steps], with room to grow."""

    def __init__(self, source: Source) -> None:
        self.lock = threading.Lock()
        self._source = source
        self._next_sequence = 0
        self._size = 0
        self._rows: dict[int, int] = {}
        self._steps: Steps = np.empty(_FIRST_CAPACITY, np.int64)
        self._values: Values = np.empty((0, _FIRST_CAPACITY), np.float32)

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        return self._steps.nbytes + self._values.nbytes

    def read(self, connection: sa.Connection, columns: Sequence[int], extent: Extent) -> tuple[Steps, Values]:
        """Steps [k] and values [columns, k], up to date with the connection's snapshot."""
        if not self._rows.keys() >= set(columns):
            self._restart(range(extent.num_columns) if extent.is_small else columns)
        for sequence, batch in self._new_batches(connection):
            self._grow(batch)
            self._next_sequence = sequence + 1
        chosen = [self._rows[column] for column in columns]
        return self._steps[: self._size], self._values[chosen, : self._size]

    def _restart(self, columns: Sequence[int]) -> None:
        """Begins again with more columns: rows of different ages would have to be merged."""
        held = sorted({*self._rows, *columns})
        self._rows = {column: row for row, column in enumerate(held)}
        self._values = np.empty((len(held), len(self._steps)), np.float32)
        self._next_sequence = self._size = 0

    def _new_batches(self, connection: sa.Connection) -> Iterator[tuple[int, Batch]]:
        source = self._source
        query = (
            sa.select(records.c.sequence, records.c.body)
            .where(
                records.c.run_id == source.run_id,
                records.c.rank == source.rank,
                records.c.attempt == source.attempt,
                records.c.sequence >= self._next_sequence,
                records.c.kind == "batch",
                records.c.layout_id == source.layout_id,
            )
            .order_by(records.c.sequence)
        )
        for sequence, body in connection.execute(query):
            record = decode_record(body)
            if isinstance(record, Batch):
                yield sequence, record

    def _grow(self, batch: Batch) -> None:
        end = self._size + batch.num_steps
        if end > len(self._steps):
            self._widen(max(end, 2 * len(self._steps)))
        self._steps[self._size : end] = batch_steps(batch)
        self._values[:, self._size : end] = batch_part(batch, list(self._rows))
        self._size = end

    def _widen(self, capacity: int) -> None:
        # New arrays, never resized ones: views that were handed out stay as they are.
        steps = np.empty(capacity, np.int64)
        steps[: self._size] = self._steps[: self._size]
        values = np.empty((len(self._rows), capacity), np.float32)
        values[:, : self._size] = self._values[:, : self._size]
        self._steps, self._values = steps, values


class TrackCache:
    """The tracks used last, within a bound of memory."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._tracks: OrderedDict[Source, Track] = OrderedDict()
        self._lock = threading.Lock()

    def read(
        self, connection: sa.Connection, source: Source, columns: Sequence[int], extent: Extent
    ) -> tuple[Steps, Values]:
        """Steps [k] and values [columns, k] of a source."""
        track = self._track(source)
        with track.lock:
            found = track.read(connection, columns, extent)
        self._trim()
        return found

    def _track(self, source: Source) -> Track:
        with self._lock:
            track = self._tracks.setdefault(source, Track(source))
            self._tracks.move_to_end(source)
            return track

    def _trim(self) -> None:
        """Also a single track that has outgrown the bound goes: it starts again with fewer columns."""
        with self._lock:
            held = sum(track.num_bytes for track in self._tracks.values())
            while held > self._max_bytes:
                _, oldest = self._tracks.popitem(last=False)
                held -= oldest.num_bytes

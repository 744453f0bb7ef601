"""The end of a stream, which is not in chunks yet: decoded and kept, so that a page decodes it once.

A `Track` holds columns of one stream over the steps that are still in the log, grows as records arrive
and lets go of what has become chunks: all columns while they are small, so that the figures of a page
decode them once between them, else those that were asked for. The `TrackCache` drops the tracks that
were used longest ago when memory runs out.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from foreshock.server.store.schema import records
from foreshock.server.store.streams import Source, Stream, in_log
from foreshock.wire import Batch, batch_part, batch_steps, decode_record

Values = NDArray[np.float32]
Steps = NDArray[np.int64]

_FIRST_CAPACITY: Final = 256
MAX_WHOLE_BYTES: Final = 8 * 2**20


class Track:
    """Columns of one source as float32 [columns, steps], with room to grow."""

    def __init__(self, source: Source) -> None:
        self.lock = threading.Lock()
        # Up to this step nothing is held any more
        self.floor = -1
        self._source = source
        self._next_sequence = 0
        self._begin = self._size = 0
        self._rows: dict[int, int] = {}
        self._steps: Steps = np.empty(_FIRST_CAPACITY, np.int64)
        self._values: Values = np.empty((0, _FIRST_CAPACITY), np.float32)

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        return self._steps.nbytes + self._values.nbytes

    def read(self, connection: sa.Connection, stream: Stream, columns: Sequence[int]) -> tuple[Steps, Values]:
        """Steps [k] after `upto_step` and values [columns, k], up to date with the connection's snapshot."""
        if not self._rows.keys() >= set(columns):
            num_bytes = 4 * len(stream.places) * (stream.last_step - stream.upto_step)
            self._restart(range(len(stream.places)) if num_bytes <= MAX_WHOLE_BYTES else columns)
        for sequence, batch in self._new_batches(connection):
            self._grow(batch)
            self._next_sequence = sequence + 1
        self._begin = int(np.searchsorted(self._steps[: self._size], stream.upto_step, "right"))
        if self._begin > len(self._steps) // 2:
            self._move(len(self._steps))
            self.floor = stream.upto_step
        chosen = [self._rows[column] for column in columns]
        here = slice(self._begin, self._size)
        return self._steps[here], self._values[chosen, here]

    def _restart(self, columns: Sequence[int]) -> None:
        """Begins again with more columns: rows of different ages would have to be merged."""
        held = sorted({*self._rows, *columns})
        self._rows = {column: row for row, column in enumerate(held)}
        self._values = np.empty((len(held), len(self._steps)), np.float32)
        self._next_sequence = self._begin = self._size = 0
        self.floor = -1

    def _new_batches(self, connection: sa.Connection) -> Iterator[tuple[int, Batch]]:
        source = self._source
        query = (
            sa.select(records.c.sequence, records.c.body)
            .where(
                *in_log(source),
                records.c.sequence >= self._next_sequence,
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
            self._move(max(end, 2 * len(self._steps)))
            end = self._size + batch.num_steps
        self._steps[self._size : end] = batch_steps(batch)
        self._values[:, self._size : end] = batch_part(batch, list(self._rows))
        self._size = end

    def _move(self, capacity: int) -> None:
        # New arrays, never resized ones: views that were handed out stay as they are.
        kept, size = slice(self._begin, self._size), self._size - self._begin
        steps = np.empty(capacity, np.int64)
        steps[:size] = self._steps[kept]
        values = np.empty((len(self._rows), capacity), np.float32)
        values[:, :size] = self._values[:, kept]
        self._steps, self._values, self._begin, self._size = steps, values, 0, size


class TrackCache:
    """The tracks used last, within a bound of memory."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._tracks: OrderedDict[Source, Track] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, connection: sa.Connection, stream: Stream, columns: Sequence[int]) -> tuple[Steps, Values]:
        """Steps [k] and values [columns, k] of a stream after what is in chunks."""
        track = self._track(stream.source)
        with track.lock:
            if track.floor > stream.upto_step:  # a reader whose snapshot is from before a compaction
                return Track(stream.source).read(connection, stream, columns)
            found = track.read(connection, stream, columns)
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

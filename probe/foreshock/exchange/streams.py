"""From rows to streams: series that are told together, in steps that rise, cut into blocks.

A row's set of series names its stream, as with `probe.log`; where a file has more than MAX_STREAMS sets,
later ones share one stream with gaps. Rows of one step that follow one another are one row, the later
value counts. A series whose step does not rise has gone back: the rank begins its next attempt.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from foreshock.exchange.errors import ExchangeError
from foreshock.exchange.precision import Precision
from foreshock.exchange.rows import Row
from foreshock.exchange.staging import Block, Place, Staging
from foreshock.wire import MISSING
from foreshock.wire.records import MAX_COLUMNS

MAX_STREAMS: Final = 64
MAX_ATTEMPTS: Final = 100
_MAX_ROWS: Final = 4096
_MAX_VALUES: Final = 2**18

Names = tuple[str, ...]


@dataclass(slots=True)
class Stream:
    """One stream of an attempt: its columns, and where its blocks lie, each with its flush's number."""

    columns: dict[str, int]
    num_rows: int = 0
    places: list[tuple[int, Place]] = field(default_factory=list)
    has_gaps: bool = False
    steps: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    # Of a stream with gaps: for each row the places that it leaves empty
    gaps: list[list[int]] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Takes a row of this stream's series; one with gaps grows by those that it lacks."""
        if self.has_gaps:
            for name in row.values:
                self.columns.setdefault(name, len(self.columns))
        self.steps.append(row.step)
        self.times.append(row.time)
        self.values.append([row.values.get(name, 0.0) for name in self.columns])
        if self.has_gaps:
            self.gaps.append([place for name, place in self.columns.items() if name not in row.values])
        self.num_rows += 1

    def take(self, precision: Precision) -> Block:
        """What has gathered, as a block; nothing is left."""
        width = len(self.columns)
        rows = [values + [0.0] * (width - len(values)) for values in self.values]
        values_KC = precision.narrow(np.array(rows, np.float64))
        for row, values, gaps in zip(values_KC, self.values, self.gaps, strict=False):
            row[gaps] = MISSING
            row[len(values) :] = MISSING
        block = Block(np.array(self.steps, np.int64), np.array(self.times, np.float64), values_KC)
        self.steps, self.times, self.values, self.gaps = [], [], [], []
        return block


@dataclass(slots=True)
class Attempt:
    """One attempt of one rank: its streams in the order of their first rows."""

    rank: int
    number: int
    streams: list[Stream] = field(default_factory=list)
    last_time: float = 0.0
    last_step: int = -1
    # Of an attempt that was rolled back: where the next one began
    back_to_step: int | None = None
    by_names: dict[Names, Stream] = field(default_factory=dict)
    last_steps: dict[str, int] = field(default_factory=dict)

    def has_gone_back(self, row: Row) -> bool:
        """Whether a series of the row stands at its step, or beyond it, already."""
        last = self.last_steps
        return any(last.get(name, -1) >= row.step for name in row.values)

    def add(self, row: Row) -> Stream:
        """Takes a row whose series all rise; the stream that it went to."""
        stream = self._stream_of(tuple(row.values))
        stream.add(row)
        self.last_steps.update(dict.fromkeys(row.values, row.step))
        self.last_step, self.last_time = max(self.last_step, row.step), row.time
        return stream

    def main_stream(self) -> Stream:
        """The stream with most rows, by which the collector reckons how far the attempt is."""
        return max(self.streams, key=lambda stream: stream.num_rows)

    def _stream_of(self, names: Names) -> Stream:
        ordered = tuple(sorted(names))
        stream = self.by_names.get(ordered)
        if stream is not None:
            return stream
        if len(self.by_names) < MAX_STREAMS:
            self.by_names[ordered] = Stream({name: place for place, name in enumerate(names)})
            self.streams.append(self.by_names[ordered])
        elif not self.streams[-1].has_gaps:
            self.streams.append(Stream({}, has_gaps=True))
        return self.streams[-1]


class Sorter:
    """Sorts rows into attempts and streams, staged block by block; `digest` is of all their content."""

    def __init__(self, staging: Staging, kind: str) -> None:
        self.precision = Precision()
        self.attempts: list[Attempt] = []
        self.num_rows = self.num_values = 0
        self.num_joined = 0
        self.first_time = 0.0
        self._staging = staging
        self._current: dict[int, Attempt] = {}
        self._pending: dict[int, Row] = {}
        self._num_flushes = 0
        self._hash = hashlib.sha256(f"foreshock import 1 {kind}\n".encode())

    def add(self, row: Row) -> None:
        """Takes the next row of the source; a row without values is nothing."""
        if not row.values:
            return
        if self.num_rows == 0:
            self.first_time = row.time
        self.num_rows += 1
        pending = self._pending.get(row.rank)
        if pending is not None and pending.step == row.step:
            self.num_joined += len(pending.values.keys() & row.values.keys())
            row = Row(row.rank, row.step, pending.time, pending.values | row.values)
        elif pending is not None:
            self._place(pending)
        self._pending[row.rank] = row

    def finish(self) -> str:
        """Stages what is left; the content's digest, 64 hex digits."""
        for row in self._pending.values():
            self._place(row)
        for attempt in self._current.values():
            self._end(attempt)
        return self._hash.hexdigest()

    def _place(self, row: Row) -> None:
        attempt = self._current.get(row.rank)
        if attempt is None or attempt.has_gone_back(row):
            attempt = self._begin(row, attempt)
        stream = attempt.add(row)
        self.num_values += len(row.values)
        if len(stream.steps) >= _MAX_ROWS or len(stream.steps) * len(stream.columns) >= _MAX_VALUES:
            self._flush(attempt)

    def _begin(self, row: Row, before: Attempt | None) -> Attempt:
        number = 0 if before is None else before.number + 1
        if number >= MAX_ATTEMPTS:
            raise ExchangeError(
                f"the steps go back more than {MAX_ATTEMPTS - 1} times (here to step {row.step}): each time "
                "would be a rollback; sort the rows by step, or by rank and step"
            )
        if before is not None:
            self._end(before)
            before.back_to_step = row.step
        attempt = self._current[row.rank] = Attempt(row.rank, number)
        self.attempts.append(attempt)
        return attempt

    def _end(self, attempt: Attempt) -> None:
        """Flushes the last rows, and brings the main stream to the attempt's last step, if only by a gap."""
        self._flush(attempt)
        main = attempt.main_stream()
        flush, place = main.places[-1]
        if place.last_step < attempt.last_step:
            # Within the last block, where readers of the newest values look for what comes before it
            block = self._staging.get(place).widened(len(main.columns))
            block = block.with_gap(attempt.last_step, attempt.last_time)
            main.places[-1] = flush, self._staging.put(block)

    def _flush(self, attempt: Attempt) -> None:
        """Stages all streams of an attempt at once, so that they stay abreast."""
        for stream in attempt.streams:
            if len(stream.columns) > MAX_COLUMNS:
                raise ExchangeError(
                    f"{len(stream.columns)} series are told together; at most {MAX_COLUMNS} are allowed: "
                    "leave some out with --map NAME="
                )
            if stream.steps:
                block = stream.take(self.precision)
                self._digest(attempt, stream, block)
                stream.places.append((self._num_flushes, self._staging.put(block)))
        self._num_flushes += 1

    def _digest(self, attempt: Attempt, stream: Stream, block: Block) -> None:
        names = "\n".join(stream.columns)
        self._hash.update(f"{attempt.rank} {attempt.number} {block.values_KC.shape}\n{names}\n".encode())
        for part in (block.steps, block.times, block.values_KC):
            self._hash.update(np.ascontiguousarray(part).tobytes())

"""Where a writer of a run stands, and what the next record must be.

Nothing here touches the database: a cursor is moved past an entry in memory, or the entry is refused.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, Self

from foreshock.server.errors import (
    LayoutChangedError,
    SequenceGapError,
    StepWentBackError,
    TooManySeriesError,
    UnknownLayoutError,
    WrongLengthError,
)
from foreshock.server.store.entries import Entry
from foreshock.wire import Layout


@dataclass(frozen=True, slots=True)
class StreamState:
    """One declared layout of an attempt, and the first and last step that came in it."""

    stream: str
    names: tuple[str, ...]
    first_step: int = -1
    last_step: int = -1
    is_new: bool = False
    has_moved: bool = False


@dataclass(slots=True)
class Cursor:
    """One writer's place in the log of (run, rank, attempt).

    `ending` is what the writer said last of its own life: nothing, or that it finished, crashed, or
    took the run up again after that.
    """

    session: str
    next_sequence: int
    last_step: int
    closed: bool
    lost_records: int
    lost_frames: int
    streams: dict[int, StreamState] = field(default_factory=dict)
    ending: Literal["", "finished", "crashed", "reopened"] = ""

    def copy(self) -> Self:
        """A cursor of its own, to be thrown away if its body turns out bad."""
        return replace(self, streams=dict(self.streams))

    def take(self, entry: Entry) -> None:
        """Moves past one new entry, or raises what is wrong with it."""
        expected = self.next_sequence
        if entry.sequence > expected:
            raise SequenceGapError(
                f"record {entry.sequence} was sent, record {expected} is the next one: send from {expected}",
                expected_sequence=expected,
            )
        if entry.layout is not None:
            self._declare(entry.layout)
        elif entry.kind == "batch":
            self._advance(entry)
        elif entry.kind == "tombstone":
            # A tombstone may reach back over records that had arrived; only the others are lost.
            self.lost_records += entry.last_sequence - expected + 1
            self.lost_frames += entry.num_frames
        elif entry.event_kind in ("finished", "crashed"):
            self.closed = True
            self.ending = "finished" if entry.event_kind == "finished" else "crashed"
        self.next_sequence = entry.last_sequence + 1

    def check_size(self, most: int | None) -> None:
        """Raises TooManySeriesError where the writer's layouts have more columns than `most`."""
        count = sum(len(stream.names) for stream in self.streams.values())
        if most is not None and count > most:
            raise TooManySeriesError(
                f"with this layout the attempt has {count} series; at most {most} are allowed: record fewer "
                "layers or signals, or raise FORESHOCK_MAX_SERIES or the token's max_series"
            )

    def _declare(self, layout: Layout) -> None:
        known = self.streams.get(layout.layout_id)
        if known is None:
            self.streams[layout.layout_id] = StreamState(layout.stream, layout.columns, is_new=True)
        elif (known.stream, known.names) != (layout.stream, layout.columns):
            raise LayoutChangedError(_what_changed(layout, known))

    def _advance(self, entry: Entry) -> None:
        stream = self._stream_of(entry)
        first_step = entry.first_step if stream.first_step < 0 else stream.first_step
        self.streams[entry.layout_id] = replace(
            stream, first_step=first_step, last_step=entry.last_step, has_moved=True
        )
        if stream.stream == "step":
            self.last_step = max(self.last_step, entry.last_step)
        if self.closed:
            self.closed, self.ending = False, "reopened"

    def _stream_of(self, entry: Entry) -> StreamState:
        number = entry.layout_id
        stream = self.streams.get(number)
        if stream is None:
            raise UnknownLayoutError(
                f"batch {entry.sequence} names layout {number}, which this attempt has not declared: send it"
            )
        if entry.columns != len(stream.names):
            raise WrongLengthError(
                f"batch {entry.sequence} has {entry.columns} values a step, its layout {number} has "
                f"{len(stream.names)} columns"
            )
        if entry.first_step <= stream.last_step:
            raise StepWentBackError(
                f"batch {entry.sequence} starts at step {entry.first_step}, but stream {stream.stream!r} is "
                f"at step {stream.last_step} already: after a rollback declare a new attempt"
            )
        return stream


def _what_changed(layout: Layout, known: StreamState) -> str:
    """The first difference between a layout and what was declared under its number."""
    if known.stream != layout.stream:
        what = f"as stream {layout.stream!r}, but was stream {known.stream!r}"
    elif len(known.names) != len(layout.columns):
        what = f"with {len(layout.columns)} columns, but had {len(known.names)}"
    else:
        pairs = enumerate(zip(layout.columns, known.names, strict=True))
        place, new, old = next((place, *pair) for place, pair in pairs if pair[0] != pair[1])
        what = f"with column {place} as {new!r}, but it was {old!r}"
    return f"layout {layout.layout_id} is declared again {what}: take a new number"

"""The log that a probe writes and a collector stores, record by record.

A probe numbers its records 0, 1, 2 .. for each (run, rank, attempt). The number never changes, so a
record that arrives twice is known as a duplicate, and one that the spool had to drop leaves a
tombstone in its place.
"""

from typing import Final, TypeAlias

import msgspec

MAX_COLUMNS: Final = 65_536
MAX_STEPS_PER_BATCH: Final = 65_536
MAX_STEP: Final = 2**53


class Layout(msgspec.Struct, frozen=True, tag="layout", forbid_unknown_fields=True):
    """Declares a stream: which series stands in which column. Sent once, before its first batch."""

    sequence: int
    layout_id: int
    stream: str
    columns: tuple[str, ...]


class Batch(msgspec.Struct, frozen=True, tag="batch", forbid_unknown_fields=True):
    """Some steps of one stream.

    `steps` int64 [k] rising, `times` float64 [k] seconds since the epoch, `values` float32
    [k, columns], all as little-endian bytes; `values` lies series by series with its four byte
    planes apart (see `foreshock.wire.codec`), which compresses best.
    """

    sequence: int
    layout_id: int
    num_steps: int
    steps: bytes
    times: bytes
    values: bytes


class Tombstone(msgspec.Struct, frozen=True, tag="tombstone", forbid_unknown_fields=True):
    """Stands for the records `sequence` .. `last_sequence` that a full or torn spool lost."""

    sequence: int
    last_sequence: int
    num_frames: int
    reason: str


class Event(msgspec.Struct, frozen=True, tag="event", forbid_unknown_fields=True):
    """Something that happened at a step: `schedule`, `note`, `rollback`, `finished`, `crashed`."""

    sequence: int
    step: int
    time: float
    kind: str
    detail: dict[str, str | int | float | bool | None]


Record: TypeAlias = Layout | Batch | Tombstone | Event

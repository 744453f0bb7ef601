"""A body as the store sees it: its records checked one by one, their bytes kept as they came."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np

from foreshock.server.errors import InvalidError, MalformedRequestError, SequenceGapError
from foreshock.server.names import check_run_id
from foreshock.wire import (
    Batch,
    Body,
    Event,
    Layout,
    MalformedError,
    Record,
    Tombstone,
    batch_steps,
    batch_times,
    decode_body,
    decode_record,
)

MAX_RANK: Final = 2**20
MAX_ATTEMPT: Final = 2**30
MAX_ALERT: Final = 2**31 - 1
# Many of them still add up to less than what a column of the database holds
MAX_LOST_FRAMES: Final = 2**31 - 1
MAX_DETAIL_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One record: what the checks need to know of it, and its bytes.

    `columns` counts a batch's values per step; `layout_id` and the steps are -1 where a kind has none.
    """

    kind: str
    sequence: int
    last_sequence: int
    data: bytes
    layout_id: int = -1
    first_step: int = -1
    last_step: int = -1
    columns: int = 0
    num_steps: int = 0
    num_frames: int = 0
    layout: Layout | None = None
    event_kind: str = ""
    # By the sender's clock, of a batch's last frame or an event; 0 where a kind has none
    last_time: float = 0.0


@dataclass(frozen=True, slots=True)
class Submission:
    """One append: whose it is, and its entries with contiguous sequence numbers."""

    run_id: str
    rank: int
    attempt: int
    session: str
    last_alert: int
    entries: tuple[Entry, ...]
    num_bytes: int
    # How far the sender's clock is behind the collector's, in seconds; negative where it is ahead
    clock_behind: float = 0.0
    # The only project that its sender sees; none: all
    project: str | None = None
    # How many columns the cursor may have in all
    max_series: int | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        """The cursor that this submission moves."""
        return self.run_id, self.rank, self.attempt


def read_body(data: bytes, run_id: str) -> Submission:
    """Decodes and checks an append body that was sent to the address of `run_id`.

    Raises what the wire raises, SequenceGapError for records that do not follow one another,
    InvalidError for an address that does not fit the body.
    """
    body = decode_body(data)
    _check_address(body, run_id)
    entries = tuple(_entry(decode_record(record), record) for record in body.records)
    for before, after in pairwise(entries):
        if after.sequence != before.last_sequence + 1:
            raise SequenceGapError(
                f"in this body record {after.sequence} follows record {before.last_sequence}: send them in "
                "order, with a tombstone for those that are lost",
                expected_sequence=before.last_sequence + 1,
            )
    return Submission(body.run_id, body.rank, body.attempt, body.session, body.last_alert, entries, len(data))


def _check_address(body: Body, run_id: str) -> None:
    if body.run_id != run_id:
        raise InvalidError(
            f"the body belongs to run {body.run_id[:64]!r} and was sent to run {run_id[:64]!r}: "
            "send it to its own"
        )
    check_run_id(run_id)
    if not (0 <= body.rank <= MAX_RANK and 0 <= body.attempt <= MAX_ATTEMPT and len(body.session) <= 64):
        raise MalformedRequestError(
            f"rank {body.rank}, attempt {body.attempt} or a session of {len(body.session)} characters is out "
            f"of bounds: at most {MAX_RANK}, {MAX_ATTEMPT} and 64 are allowed"
        )
    if not 0 <= body.last_alert <= MAX_ALERT:
        raise MalformedRequestError(
            f"last_alert is {body.last_alert}; 0 to {MAX_ALERT} are allowed: send the number of the newest "
            "alert that came in an answer, 0 before the first"
        )


def _entry(record: Record, data: bytes) -> Entry:
    match record:
        case Batch():
            return _batch_entry(record, data)
        case Layout():
            if "\0" in record.stream:
                raise MalformedError("a layout's stream has a NUL in its name, which no database takes")
            return Entry(
                "layout",
                record.sequence,
                record.sequence,
                data,
                layout_id=record.layout_id,
                layout=record,
            )
        case Tombstone():
            if not 0 <= record.num_frames <= MAX_LOST_FRAMES:
                raise MalformedError(
                    f"a tombstone counts {record.num_frames} frames; 0 to {MAX_LOST_FRAMES} are allowed"
                )
            return Entry(
                "tombstone", record.sequence, record.last_sequence, data, num_frames=record.num_frames
            )
        case Event():
            _check_detail(record)
            return Entry(
                "event",
                record.sequence,
                record.sequence,
                data,
                first_step=record.step,
                last_step=record.step,
                event_kind=record.kind,
                last_time=record.time,
            )


def _check_detail(event: Event) -> None:
    size = len(msgspec.json.encode(event.detail))
    if size > MAX_DETAIL_BYTES:
        raise InvalidError(
            f"the detail of event {event.sequence} ({event.kind!r}) has {size} bytes as JSON; at most "
            f"{MAX_DETAIL_BYTES} are allowed: say it shorter"
        )


def _batch_entry(batch: Batch, data: bytes) -> Entry:
    steps, times = batch_steps(batch), batch_times(batch)
    if not np.isfinite(times).all():
        # An alert is dated by them, and no alert can be stored without a date
        raise MalformedError(f"batch {batch.sequence} has a time that is no finite number: send seconds")
    return Entry(
        "batch",
        batch.sequence,
        batch.sequence,
        data,
        layout_id=batch.layout_id,
        first_step=int(steps[0]),
        last_step=int(steps[-1]),
        columns=len(batch.values) // (4 * batch.num_steps),
        num_steps=batch.num_steps,
        last_time=float(times[-1]),
    )

"""Records and bodies as bytes, both ways, with a limit on everything that arrives.

A record is msgpack inside one zstd frame and is written once, by the probe: the same bytes lie in
the spool, travel, and are stored. A body is an unpacked list of such records with its address.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from foreshock.wire.columns import parse_column
from foreshock.wire.errors import MalformedError, TooLargeError, VersionError, WireError
from foreshock.wire.records import (
    MAX_COLUMNS,
    MAX_STEP,
    MAX_STEPS_PER_BATCH,
    Batch,
    Event,
    Layout,
    Record,
    Tombstone,
)

WIRE_VERSION: Final = 1
MAX_BODY_BYTES: Final = 16 * 2**20
MAX_RECORD_BYTES: Final = 64 * 2**20
# What all records of one body may unpack to: a body of zeros is a thousandth of what it unpacks to
MAX_UNPACKED_BYTES: Final = 128 * 2**20
CONTENT_TYPE: Final = "application/vnd.foreshock.append"
# Header of an append: what the sender's clock shows, in seconds since the epoch
CLOCK_HEADER: Final = "Foreshock-Clock"

StepArray = NDArray[np.int64]
TimeArray = NDArray[np.float64]
ValueArray = NDArray[np.float32]
IndexArray = NDArray[np.intp]

ALL_FRAMES: Final = slice(None)


class Body(msgspec.Struct, frozen=True):
    """One append: records with contiguous sequence numbers of one (run, rank, attempt).

    `session` names the process that writes; `last_alert` is the newest alert event it has seen;
    `records` are encoded records; an empty list is a heartbeat.
    """

    version: int
    run_id: str
    rank: int
    attempt: int
    session: str
    last_alert: int
    records: list[bytes]


_record_decoder: Final = msgspec.msgpack.Decoder(Record)
_body_decoder: Final = msgspec.msgpack.Decoder(Body)
# msgspec reports text that is no UTF-8 with the builtin error
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError)
_encoder: Final = msgspec.msgpack.Encoder()


def pack_values(values_KS: ValueArray) -> bytes:
    """Float32 [k, series] as bytes: series by series, then the four byte planes apart."""
    planes = np.ascontiguousarray(values_KS.T, dtype="<f4").view(np.uint8).reshape(-1, 4)
    return planes.T.tobytes()


def unpack_values(data: bytes, num_steps: int) -> ValueArray:
    """Float32 [series, k]: the inverse of `pack_values`, transposed, as readers want it."""
    planes = np.frombuffer(data, np.uint8).reshape(4, -1)
    return np.ascontiguousarray(planes.T).view("<f4").reshape(-1, num_steps)


def make_batch(
    sequence: int, layout_id: int, steps: StepArray, times: TimeArray, values_KS: ValueArray
) -> Batch:
    """A batch record from arrays [k], [k] and [k, series]."""
    return Batch(
        sequence,
        layout_id,
        len(steps),
        steps.astype("<i8").tobytes(),
        times.astype("<f8").tobytes(),
        pack_values(values_KS),
    )


def batch_steps(batch: Batch) -> StepArray:
    """Steps int64 [k]."""
    return np.frombuffer(batch.steps, "<i8").astype(np.int64, copy=False)


def batch_times(batch: Batch) -> TimeArray:
    """Seconds since the epoch, float64 [k]."""
    return np.frombuffer(batch.times, "<f8").astype(np.float64, copy=False)


def batch_values(batch: Batch) -> ValueArray:
    """Float32 [series, k], bit for bit as it was measured, NaN and Inf included."""
    return unpack_values(batch.values, batch.num_steps)


def batch_part(batch: Batch, places: Sequence[int] | IndexArray, frames: slice = ALL_FRAMES) -> ValueArray:
    """Float32 [places, frames]: some columns of some frames; nothing else of the batch is unpacked."""
    planes = np.frombuffer(batch.values, np.uint8).reshape(4, -1, batch.num_steps)
    part = planes[:, np.asarray(places, np.intp), frames]
    return np.ascontiguousarray(part.transpose(1, 2, 0)).view("<f4")[..., 0]


def encode_record(record: Record, level: int = 3) -> bytes:
    """A record as one zstd frame that names its content size."""
    return zstandard.ZstdCompressor(level=level).compress(_encoder.encode(record))


def decode_record(data: bytes) -> Record:
    """Reads and checks one record.

    Raises MalformedError for anything that is not a well-formed record, TooLargeError before a
    frame that would decompress beyond MAX_RECORD_BYTES is opened.
    """
    try:
        size = zstandard.frame_content_size(data)
        if size < 0:
            raise MalformedError("a record's zstd frame does not name its content size")
        if size > MAX_RECORD_BYTES:
            raise TooLargeError(
                f"a record would unpack to {size} bytes; at most {MAX_RECORD_BYTES} are allowed"
            )
        record: Record = _record_decoder.decode(zstandard.ZstdDecompressor().decompress(data))
    except zstandard.ZstdError as error:
        raise MalformedError(f"a record is truncated or corrupted: {error}") from error
    except _UNREADABLE as error:
        raise MalformedError(f"a record does not have the shape of any known kind: {error}") from error
    _check(record)
    return record


def encode_body(body: Body) -> bytes:
    """A body as msgpack; its records are compressed already."""
    return _encoder.encode(body)


def decode_body(data: bytes) -> Body:
    """Reads an append body and checks its version; records stay encoded.

    Raises TooLargeError over MAX_BODY_BYTES, or where the records together would unpack to more than
    MAX_UNPACKED_BYTES, VersionError for a newer version, MalformedError else.
    """
    if len(data) > MAX_BODY_BYTES:
        raise TooLargeError(f"the body has {len(data)} bytes; at most {MAX_BODY_BYTES} are allowed")
    try:
        body = _body_decoder.decode(data)
    except _UNREADABLE as error:
        _raise_if_from_the_future(data)
        raise MalformedError(f"the body is truncated or not an append body: {error}") from error
    _check_version(body.version)
    size = _named_sizes(body)
    if size > MAX_UNPACKED_BYTES:
        raise TooLargeError(
            f"the body's {len(body.records)} records would unpack to {size} bytes; at most "
            f"{MAX_UNPACKED_BYTES} are allowed in one body: send fewer records at a time"
        )
    return body


def unpacked_bytes(data: bytes) -> int:
    """What a body's records say that they unpack to; 0 for what is no body, which `decode_body` refuses."""
    try:
        return _named_sizes(_body_decoder.decode(data))
    except _UNREADABLE:
        return 0


def _named_sizes(body: Body) -> int:
    return sum(map(_named_size, body.records))


def _named_size(record: bytes) -> int:
    """What a record's frame says that it unpacks to; 0 where it does not, which `decode_record` refuses."""
    try:
        return max(0, zstandard.frame_content_size(record))
    except zstandard.ZstdError:
        return 0


class _Versioned(msgspec.Struct):
    """All that this version knows of a body that a newer one may have written."""

    version: int


def _raise_if_from_the_future(data: bytes) -> None:
    try:
        version = msgspec.msgpack.decode(data, type=_Versioned).version
    except _UNREADABLE:
        return
    _check_version(version)


def _check_version(version: int) -> None:
    if version > WIRE_VERSION:
        raise VersionError(
            f"the body has wire version {version}, this foreshock reads up to {WIRE_VERSION}: "
            "update the collector before the probes"
        )
    if version < 1:
        raise MalformedError(f"the body has wire version {version}; versions start at 1")


def _check(record: Record) -> None:
    if not 0 <= record.sequence < 2**62:
        raise MalformedError(f"sequence {record.sequence} is outside 0 .. 2^62")
    match record:
        case Batch():
            _check_batch(record)
        case Layout():
            _check_layout(record)
        case Tombstone():
            if not record.sequence <= record.last_sequence < 2**62:
                raise MalformedError(
                    f"a tombstone ends at {record.last_sequence}, before it starts at {record.sequence}"
                )
        case Event():
            if not 0 <= record.step <= MAX_STEP or len(record.kind) > 64 or len(record.detail) > 64:
                raise MalformedError("an event's step, kind or detail is out of bounds")


def _check_batch(batch: Batch) -> None:
    k = batch.num_steps
    if not 1 <= k <= MAX_STEPS_PER_BATCH:
        raise MalformedError(f"a batch of {k} steps; 1 to {MAX_STEPS_PER_BATCH} are allowed")
    if len(batch.steps) != 8 * k or len(batch.times) != 8 * k or len(batch.values) % (4 * k):
        raise MalformedError(
            f"a batch of {k} steps carries {len(batch.steps)} bytes of steps, {len(batch.times)} of times, "
            f"{len(batch.values)} of values: the first two must be {8 * k}, the last a multiple of {4 * k}"
        )
    steps = batch_steps(batch)
    if steps[0] < 0 or steps[-1] > MAX_STEP or np.any(np.diff(steps) <= 0):
        raise MalformedError(f"steps must rise within 0 .. {MAX_STEP}; given {steps[0]} .. {steps[-1]}")


def _check_layout(layout: Layout) -> None:
    if not 1 <= len(layout.columns) <= MAX_COLUMNS:
        raise MalformedError(f"a layout of {len(layout.columns)} columns; 1 to {MAX_COLUMNS} are allowed")
    if len(set(layout.columns)) != len(layout.columns):
        raise MalformedError("a layout names a column twice")
    if len(layout.stream) > 64 or not 0 <= layout.layout_id < 2**31:
        raise MalformedError("a layout's stream name or number is out of bounds")
    try:
        for name in layout.columns:
            parse_column(name)
    except WireError as error:
        raise MalformedError(f"a layout has an unusable column: {error}") from error

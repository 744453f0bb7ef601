"""Records and bodies survive the wire bit for bit, and nothing malformed passes."""

import msgspec
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foreshock.wire import (
    MAX_BODY_BYTES,
    WIRE_VERSION,
    Batch,
    Body,
    Event,
    Layout,
    MalformedError,
    Tombstone,
    TooLargeError,
    VersionError,
    batch_part,
    batch_steps,
    batch_times,
    batch_values,
    decode_body,
    decode_record,
    encode_body,
    encode_record,
    make_batch,
)
from foreshock.wire.records import MAX_STEP

float32_bits = hnp.arrays(
    np.uint32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
    elements=st.integers(0, 2**32 - 1),
)


def body(**changes: object) -> Body:
    fields = {
        "version": WIRE_VERSION,
        "run_id": "r",
        "rank": 0,
        "attempt": 0,
        "session": "s",
        "last_alert": 0,
        "records": [],
    }
    return Body(**{**fields, **changes})  # type: ignore[arg-type]


@given(float32_bits)
def test_every_bit_pattern_of_a_float_survives(bits_KS: np.ndarray) -> None:
    values_KS = bits_KS.view(np.float32)
    steps = np.arange(len(values_KS), dtype=np.int64) * 3 + 1
    batch = decode_record(encode_record(make_batch(5, 2, steps, steps / 7, values_KS)))
    assert isinstance(batch, Batch)
    assert batch_values(batch).T.tobytes() == values_KS.tobytes()
    assert batch_steps(batch).tolist() == steps.tolist()
    assert batch_times(batch).tolist() == (steps / 7).tolist()


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_malformed_and_nothing_else(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_record(data)


@given(st.integers(1, 200))
def test_a_truncated_record_is_malformed(cut: int) -> None:
    data = encode_record(make_batch(0, 0, np.arange(9), np.arange(9.0), np.ones((9, 20), np.float32)))
    with pytest.raises(MalformedError):
        decode_record(data[: -min(cut, len(data) - 1)])


@pytest.mark.parametrize(
    "steps", [[3, 3], [5, 4], [-1, 0], [0, MAX_STEP + 1], [0, 2**63 - 1]], ids=lambda steps: str(steps)
)
def test_steps_must_rise_within_bounds(steps: list[int]) -> None:
    batch = make_batch(0, 0, np.array(steps), np.zeros(len(steps)), np.zeros((len(steps), 1), np.float32))
    with pytest.raises(MalformedError, match="steps must rise"):
        decode_record(encode_record(batch))


def test_a_batch_whose_arrays_disagree_is_malformed() -> None:
    batch = make_batch(0, 0, np.arange(4), np.zeros(4), np.zeros((4, 2), np.float32))
    for wrong in (
        msgspec.structs.replace(batch, num_steps=3),
        msgspec.structs.replace(batch, values=batch.values[:-4]),
        msgspec.structs.replace(batch, times=b""),
        msgspec.structs.replace(batch, num_steps=0, steps=b"", times=b"", values=b""),
        msgspec.structs.replace(batch, sequence=-1),
    ):
        with pytest.raises(MalformedError):
            decode_record(encode_record(wrong))


@pytest.mark.parametrize(
    "columns", [(), ("a", "a"), ("a[b]",), ("<script>",), ("x" * 10_000,), ("a[-1]",), ("a[01]",), ("",)]
)
def test_a_layout_with_unusable_columns_is_malformed(columns: tuple[str, ...]) -> None:
    with pytest.raises(MalformedError):
        decode_record(encode_record(Layout(0, 0, "step", columns)))


def test_a_tombstone_cannot_end_before_it_starts() -> None:
    with pytest.raises(MalformedError):
        decode_record(encode_record(Tombstone(5, 4, 0, "")))


def test_an_event_keeps_its_detail() -> None:
    event = Event(3, 7, 1.5, "schedule", {"what": "rate", "factor": 0.5, "planned": True, "by": None})
    assert decode_record(encode_record(event)) == event


def test_a_decompression_bomb_is_refused_before_it_is_opened() -> None:
    bomb = zstandard.ZstdCompressor().compress(b"\0" * (80 * 2**20))
    assert len(bomb) < 20_000
    with pytest.raises(TooLargeError):
        decode_record(bomb)


def test_a_frame_without_its_size_is_refused() -> None:
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    with pytest.raises(MalformedError, match="content size"):
        decode_record(compressor.compress(b"\0" * 1000) + compressor.flush())


def test_a_body_comes_back_whole() -> None:
    original = body(records=[b"a", b"b"], rank=3, last_alert=9)
    assert decode_body(encode_body(original)) == original


def test_a_body_from_the_future_says_so_whatever_its_shape() -> None:
    with pytest.raises(VersionError, match="wire version 2"):
        decode_body(encode_body(body(version=WIRE_VERSION + 1)))
    with pytest.raises(VersionError):
        decode_body(msgspec.msgpack.encode({"version": 9, "everything": "else"}))


def test_a_body_over_the_limit_is_refused() -> None:
    with pytest.raises(TooLargeError):
        decode_body(b"\0" * (MAX_BODY_BYTES + 1))


@given(st.binary(max_size=200))
def test_a_body_of_arbitrary_bytes_is_malformed(data: bytes) -> None:
    with pytest.raises((MalformedError, VersionError)):
        decode_body(data)


def test_a_part_of_a_batch_is_the_same_part_of_its_values():
    values_KS = np.arange(35, dtype=np.float32).reshape(7, 5)
    batch = make_batch(0, 0, np.arange(7), np.zeros(7), values_KS)
    assert batch_part(batch, [3, 0], slice(2, 6)).tolist() == values_KS.T[[3, 0], 2:6].tolist()
    assert batch_part(batch, [1]).tolist() == values_KS.T[[1]].tolist()
    assert batch_part(batch, []).shape == (0, 7)

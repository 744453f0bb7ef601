"""Append bodies: whole ones, and ones that are torn, bent, far too large or far too small."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec
import numpy as np
import zstandard
from hypothesis import strategies as st

EDGES: Final = (0, 1, -1, 2**31 - 1, 2**31, 2**53, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -(2**63))
_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_LARGEST_BLOCK: Final = 128 * 1024
_NAMES: Final = ("loss", "grad_norm", "a", "a.b", "x[0]", "x[1]", "layer_amax_forward_max[3]")
_TEXTS: Final = (
    "",
    "step",
    "x" * 64,
    "x" * 65,
    "\0",
    "a\nb",
    "\U0001f30b",
    "loss",
    "layer_amax_forward_max[0]",
)


def rarely(unusual: st.SearchStrategy[Any], usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The usual, but once in twelve: what is bent everywhere gets no further than the first check."""
    return st.integers(0, 11).flatmap(lambda drawn: usual if drawn < 11 else unusual)


numbers = st.one_of(st.integers(0, 3), st.sampled_from(EDGES), st.integers(-(2**63), 2**64 - 1))
texts = st.one_of(st.sampled_from(_TEXTS), st.text(max_size=20))
names = rarely(
    st.one_of(st.lists(texts, max_size=4), st.just(["loss", "loss"]), st.just([])),
    st.lists(st.sampled_from(_NAMES), min_size=1, max_size=6, unique=True),
)
reals = st.one_of(st.floats(width=32), st.sampled_from([float("nan"), float("inf"), -0.0, 3.4e38]))
steps = rarely(
    st.lists(st.sampled_from([0, 1, -1, 5, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]), max_size=5),
    st.integers(0, 2**20).flatmap(lambda first: st.just(range(first, first + 3))),
)


@dataclass(frozen=True)
class Recipe:
    """A body before its sequence numbers are known: records, how each is framed, and what is done to all.

    A record's `sequence` is counted from the next one that the collector expects, unless it is huge.
    """

    records: Sequence[dict[str, Any]]
    frames: Sequence[str]
    changes: dict[str, Any]
    damage: tuple[str, int, int]

    def build(self, address: dict[str, Any], next_sequence: int) -> bytes:
        """The bytes for the writer that stands at `next_sequence`."""
        framed = []
        for record, frame in zip(self.records, self.frames, strict=False):
            told = dict(record)
            for name in ("sequence", "last_sequence"):
                if name in told and abs(told[name]) < 2**20:
                    told[name] += next_sequence
            framed.append(_frame(msgspec.msgpack.encode(told), frame))
        body = {"version": 1, "last_alert": 0, "records": framed, **address, **self.changes}
        return _damage(msgspec.msgpack.encode(body), *self.damage)


def _frame(data: bytes, how: str) -> bytes:
    match how:
        case "no size":
            return zstandard.ZstdCompressor(write_content_size=False).compress(data)
        case "a small size":
            return _raw_frame(data, len(data) // 2)
        case "a huge size":
            return _raw_frame(data, 2**62)
        case "a large size":
            return _raw_frame(data, 60 * 2**20)
        case "a bomb":
            return bomb(60 * 2**20)
        case "a huge bomb":
            return bomb(2**30)
        case "cut":
            return zstandard.compress(data)[:-3]
        case "a million columns":
            return many_columns(1_000_000)
        case "many columns":
            return many_columns(60_000)
    return zstandard.compress(data)


def _raw_frame(data: bytes, size: int) -> bytes:
    """One stored block under a header that names any size."""
    head = (len(data) << 3 | 1).to_bytes(3, "little")
    return _MAGIC + b"\xe0" + size.to_bytes(8, "little") + head + data


@cache
def bomb(size: int) -> bytes:
    """A frame of a few kilobytes that unpacks to `size` zeros."""
    blocks = [(_LARGEST_BLOCK << 3 | 2).to_bytes(3, "little") + b"\0"] * (size // _LARGEST_BLOCK - 1)
    last = (_LARGEST_BLOCK << 3 | 3).to_bytes(3, "little") + b"\0"
    # A window of 8 MiB, and the content's size in eight bytes
    return _MAGIC + b"\xc0\x68" + size.to_bytes(8, "little") + b"".join(blocks) + last


@cache
def many_columns(count: int) -> bytes:
    """A layout of so many columns, framed; its sequence number is 0."""
    names = [f"c{number}" for number in range(count)]
    layout = {"type": "layout", "sequence": 0, "layout_id": 9, "stream": "wide", "columns": names}
    return zstandard.compress(msgspec.msgpack.encode(layout))


def _damage(body: bytes, how: str, place: int, value: int) -> bytes:
    place %= max(1, len(body))
    match how:
        case "cut":
            return body[:place]
        case "flip":
            return body[:place] + bytes([body[place] ^ (1 << value % 8)]) + body[place + 1 :]
        case "spread":
            bent = np.frombuffer(body, np.uint8).copy()
            bent[np.random.default_rng(value).integers(0, len(bent), 1 + value % 20)] = value % 256
            return bent.tobytes()
        case "a huge list":
            return b"\xdd" + (2**32 - 1).to_bytes(4, "big") + body
        case "a huge map":
            return b"\xdf" + (2**32 - 1).to_bytes(4, "big") + body
        case "deep":
            return b"\x91" * (1000 * (1 + value % 50)) + body
        case "twice":
            return body + body
        case "other bytes":
            return np.random.default_rng(value).bytes(place)
        case "empty":
            return b""
    return body


FIRST_LAYOUT: Final = Recipe(
    [{"type": "layout", "sequence": 0, "layout_id": 0, "stream": "step", "columns": ["loss"]}],
    ["whole"],
    {},
    ("none", 0, 0),
)
_ids = rarely(numbers, st.integers(0, 3))
layouts = st.fixed_dictionaries(
    {
        "type": st.just("layout"),
        "sequence": st.just(0),
        "layout_id": _ids,
        "stream": rarely(texts, st.sampled_from(["step", "other"])),
        "columns": names,
    }
)
events = st.fixed_dictionaries(
    {
        "type": st.just("event"),
        "sequence": st.just(0),
        "step": rarely(numbers, st.integers(0, 2**20)),
        "time": st.floats(),
        "kind": rarely(texts, st.sampled_from(["finished", "crashed", "schedule", "note"])),
        "detail": st.dictionaries(texts, st.one_of(texts, numbers, st.floats(), st.none()), max_size=3),
    }
)
tombstones = st.fixed_dictionaries(
    {
        "type": st.just("tombstone"),
        "sequence": st.just(0),
        "last_sequence": rarely(numbers, st.just(0)),
        "num_frames": rarely(numbers, st.integers(0, 9)),
        "reason": texts,
    }
)


@st.composite
def batches(draw: st.DrawFn) -> dict[str, Any]:
    """A batch, mostly one that fits itself."""
    taken = np.array(list(draw(steps)), np.int64)
    width = draw(rarely(st.integers(0, 3), st.just(1)))
    values = draw(st.lists(reals, min_size=width, max_size=width)) * len(taken)
    return {
        "type": "batch",
        "sequence": 0,
        "layout_id": draw(rarely(_ids, st.just(0))),
        "num_steps": draw(rarely(numbers, st.just(len(taken)))),
        "steps": taken.astype("<i8").tobytes(),
        "times": np.full(len(taken), draw(rarely(st.floats(), st.floats(0, 2e9)))).astype("<f8").tobytes(),
        "values": np.array(values, np.float32).tobytes()[: draw(rarely(st.just(-1), st.none()))],
    }


records = st.lists(st.one_of(layouts, batches(), batches(), events, tombstones), max_size=4)
_frames = st.sampled_from(
    ["whole"] * 30
    + ["no size", "a small size", "a huge size", "a large size", "cut", "a bomb", "a huge bomb"]
)
_heavy = st.sampled_from(["whole"] * 60 + ["many columns", "a million columns"])
_damages = st.tuples(
    st.sampled_from(
        ["none"] * 16
        + [
            "cut",
            "flip",
            "flip",
            "spread",
            "a huge list",
            "a huge map",
            "deep",
            "twice",
            "other bytes",
            "empty",
        ]
    ),
    st.integers(0, 2**16),
    st.integers(0, 2**16),
)
_changes = rarely(
    st.dictionaries(
        st.sampled_from(["version", "run_id", "rank", "attempt", "session", "last_alert", "records", "more"]),
        st.one_of(numbers, texts, st.none(), st.just([]), st.just([b""])),
        max_size=2,
    ),
    st.just({}),
)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Bodies, most of them damaged in one way only, so that each way gets deep."""
    drawn = draw(records)
    for number, record in enumerate(drawn):
        record["sequence"] = number
        if record["type"] == "tombstone" and abs(record["last_sequence"]) < 2**20:
            record["last_sequence"] += number
    if drawn and draw(st.integers(0, 9)) == 9:
        drawn[-1]["sequence"] = draw(numbers)
    frames = [draw(_frames) for _ in drawn]
    if frames and frames[0] == "whole":
        frames[0] = draw(_heavy)
    is_damaged = any(frame != "whole" for frame in frames)
    damage = ("none", 0, 0) if is_damaged else draw(_damages)
    return Recipe(drawn, frames, {} if is_damaged else draw(_changes), damage)

"""Chunks: windows of steps of a few columns, each column compressed by itself; and their envelopes.

A stream is cut into parts of PART_COLUMNS columns and into windows of WINDOW_CELLS cells. A window lies
within one cell of its own width, so that it can be summed up in one. Inside a chunk every column is a
zstd frame of its four byte planes, each plane a block of its own with its own table of codes: the upper
planes of noisy gains then shrink although the lower ones cannot (2.50 bytes a point instead of 2.76).
A reader of one series opens one frame a window.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from foreshock.server.errors import DamagedError
from foreshock.server.store.cells import Cells, StepArray
from foreshock.wire import is_missing

PART_COLUMNS: Final = 8
CELL_STEPS: Final = 64
WINDOW_CELLS: Final = 16
# A window ends early where there is more than one frame a step of its cells
MAX_WINDOW_STEPS: Final = 4096
LEVEL: Final = 1

TimeArray = NDArray[np.float64]
ValueArray = NDArray[np.float32]

_REALS: Final = ("minimum", "maximum", "mean", "first", "last")
_COUNTS: Final = ("count", "nonfinite")
_STEPS: Final = ("first_step", "last_step")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One part of a window: a row of `chunks` and its row of `envelopes`, without the stream's address."""

    part: int
    first_step: int
    last_step: int
    cell_width: int
    num_steps: int
    steps: bytes
    times: bytes | None
    body: bytes
    summary: bytes
    cells: bytes

    @property
    def num_bytes(self) -> int:
        """Bytes that it takes in both tables, without keys."""
        parts = (self.steps, self.times or b"", self.body, self.summary, self.cells)
        return sum(map(len, parts))

    def row(self) -> dict[str, Any]:
        """Its row of `chunks`."""
        return {
            **self._place(),
            "num_steps": self.num_steps,
            "steps": self.steps,
            "times": self.times,
            "body": self.body,
            "checksum": checksum(self.steps, self.times, self.body),
        }

    def envelope_row(self) -> dict[str, Any]:
        """Its row of `envelopes`."""
        return {
            **self._place(),
            "summary": self.summary,
            "cells": self.cells,
            "checksum": checksum(self.summary, self.cells),
        }

    def _place(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "first_step": self.first_step,
            "last_step": self.last_step,
            "cell_width": self.cell_width,
        }


def checksum(*blobs: bytes | None) -> int:
    """CRC-32 of bytes after one another."""
    value = 0
    for blob in blobs:
        value = zlib.crc32(blob or b"", value)
    return value


def pack_window(steps: StepArray, times: TimeArray, values: ValueArray, width: int) -> Iterator[Chunk]:
    """The chunks of one window: steps and times [k], values [columns, k], cells of `width` steps."""
    compressor = zstandard.ZstdCompressor(level=LEVEL)
    packed_steps, packed_times = _pack_whole(steps), _pack_times(times)
    window = WINDOW_CELLS * width
    for part, start in enumerate(range(0, len(values), PART_COLUMNS)):
        of_part = np.ascontiguousarray(values[start : start + PART_COLUMNS])
        cells = Cells.of(steps, of_part, ~is_missing(of_part), width)
        yield Chunk(
            part=part,
            first_step=int(steps[0]),
            last_step=int(steps[-1]),
            cell_width=width,
            num_steps=len(steps),
            steps=packed_steps,
            times=packed_times if part == 0 else None,
            body=_pack_columns(of_part, compressor),
            summary=pack_cells(cells.widen(window), compressor),
            cells=pack_cells(cells, compressor),
        )


def _pack_columns(values: ValueArray, compressor: zstandard.ZstdCompressor) -> bytes:
    """A table of the frames' ends, then the frames."""
    planes = np.ascontiguousarray(values, "<f4").view(np.uint8).reshape(*values.shape, 4)
    frames = [_pack_planes(of_column, compressor) for of_column in planes.transpose(0, 2, 1).copy()]
    ends = np.cumsum([len(frame) for frame in frames], dtype="<u4")
    return b"".join((ends.tobytes(), *frames))


def _pack_planes(planes: NDArray[np.uint8], compressor: zstandard.ZstdCompressor) -> bytes:
    frame = compressor.compressobj(size=planes.size)
    blocks: list[bytes] = []
    for plane in planes:
        blocks += frame.compress(plane.tobytes()), frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return b"".join((*blocks, frame.flush()))


def unpack_columns(body: bytes, num_columns: int, places: Sequence[int], num_steps: int) -> ValueArray:
    """Float32 [places, k]: some columns of a chunk of `num_columns`."""
    ends = np.frombuffer(body, "<u4", num_columns).astype(np.int64) + 4 * num_columns
    begins = np.append(4 * num_columns, ends[:-1])
    # Filled plane by plane: a sixth of the time that turning all of it at once takes
    bytes_of = np.empty((len(places), num_steps, 4), np.uint8)
    view, decompressor = memoryview(body), zstandard.ZstdDecompressor()
    for row, place in enumerate(places):
        plain = decompressor.decompress(view[begins[place] : ends[place]])
        for number, plane in enumerate(np.frombuffer(plain, np.uint8).reshape(4, num_steps)):
            bytes_of[row, :, number] = plane
    return bytes_of.view("<f4")[..., 0]


class _Progression(msgspec.Struct, array_like=True):
    """Steps that lie equally far apart."""

    first: int
    stride: int
    count: int


def _pack_whole(whole: NDArray[np.int64]) -> bytes:
    """Rising int64: three numbers where they are equally far apart, else zstd of the differences' planes."""
    first, gaps = int(whole[0]), np.diff(whole)
    if len(gaps) == 0 or bool((gaps == gaps[0]).all()):
        stride = int(gaps[0]) if len(gaps) else 1
        return b"p" + msgspec.msgpack.encode(_Progression(first, stride, len(whole)))
    return b"d" + _pack_differences(whole)


def unpack_steps(data: bytes) -> StepArray:
    """The steps [k] of a chunk."""
    if data[:1] == b"p":
        one = msgspec.msgpack.decode(data[1:], type=_Progression)
        return one.first + one.stride * np.arange(one.count, dtype=np.int64)
    return _unpack_differences(data[1:])


def _pack_times(times: TimeArray) -> bytes:
    # Bits of doubles of like size differ by little; as whole numbers the difference loses nothing.
    return _pack_differences(np.ascontiguousarray(times, "<f8").view(np.int64))


def unpack_times(data: bytes) -> TimeArray:
    """Seconds since the epoch [k], bit for bit."""
    return _unpack_differences(data).view(np.float64)


def _pack_differences(whole: NDArray[np.int64]) -> bytes:
    # Unsigned, so that the bits of any two doubles may differ by any amount
    bits = np.ascontiguousarray(whole).view(np.uint64)
    differences = np.diff(bits, prepend=np.uint64(0)).astype("<u8")
    planes = np.ascontiguousarray(differences.view(np.uint8).reshape(-1, 8).T)
    return zstandard.ZstdCompressor(level=LEVEL).compress(planes.tobytes())


def _unpack_differences(data: bytes) -> NDArray[np.int64]:
    planes = np.frombuffer(zstandard.ZstdDecompressor().decompress(data), np.uint8).reshape(8, -1)
    differences = np.ascontiguousarray(planes.T).view("<u8")[:, 0]
    return np.cumsum(differences, dtype=np.uint64).view(np.int64)


class _Envelope(msgspec.Struct, array_like=True):
    """Cells as bytes: `edge` [n]; steps and counts [fields, columns, n]; byte planes of float32 reals."""

    num_columns: int
    edge: bytes
    steps: bytes
    counts: bytes
    reals: bytes


def pack_cells(cells: Cells, compressor: zstandard.ZstdCompressor) -> bytes:
    """Cells as one zstd frame; the mean is rounded to float32, the rest is exact."""
    # A step is told as its distance from the cell's edge: the same for nearly all columns and cells.
    steps = np.stack([getattr(cells, name) - cells.edge for name in _STEPS]).astype("<i8")
    counts = np.stack([getattr(cells, name) for name in _COUNTS]).astype("<u2")
    with np.errstate(invalid="ignore", over="ignore"):
        reals = np.stack([getattr(cells, name) for name in _REALS]).astype("<f4")
    planes = reals.view(np.uint8).reshape(-1, 4).T
    envelope = _Envelope(
        len(cells.count),
        cells.edge.astype("<i8").tobytes(),
        steps.tobytes(),
        counts.tobytes(),
        planes.tobytes(),
    )
    return compressor.compress(msgspec.msgpack.encode(envelope))


_decode_envelope: Final = msgspec.msgpack.Decoder(_Envelope).decode


def unpack_cells(data: bytes, places: Sequence[int]) -> Cells:
    """The cells of some columns of an envelope."""
    told = _decode_envelope(zstandard.ZstdDecompressor().decompress(data))
    edge = np.frombuffer(told.edge, "<i8").astype(np.int64)
    shape = (told.num_columns, len(edge))
    chosen = np.asarray(places, np.intp)
    steps = np.frombuffer(told.steps, "<i8").reshape(2, *shape)[:, chosen] + edge
    counts = np.frombuffer(told.counts, "<u2").reshape(2, *shape)[:, chosen].astype(np.int64)
    planes = np.frombuffer(told.reals, np.uint8).reshape(4, 5, *shape)[:, :, chosen]
    reals = np.ascontiguousarray(planes.transpose(1, 2, 3, 0)).view("<f4")[..., 0].astype(np.float64)
    return Cells(
        edge,
        **dict(zip(_STEPS, steps, strict=True)),
        **dict(zip(_COUNTS, counts, strict=True)),
        **dict(zip(_REALS, reals, strict=True)),
    )


def check(told: int, *blobs: bytes | None) -> None:
    """Raises DamagedError where bytes are not those that were stored."""
    if checksum(*blobs) != told:
        raise DamagedError("a chunk's checksum does not fit: the database file is damaged, restore a backup")

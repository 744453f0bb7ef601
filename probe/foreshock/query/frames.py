"""Numbers at full resolution: the collector's pages of frames, as blocks of arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from foreshock.query.connection import Connection
from foreshock.wire import is_missing
from foreshock.wire.readings import FloatArray, IntArray


class _Block(msgspec.Struct):
    rank: int
    layout_id: int
    stream: str
    columns: list[str]
    steps: bytes
    times: bytes
    values: bytes


class _Page(msgspec.Struct):
    attempt: int
    blocks: list[_Block]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Frames:
    """Some steps of some columns that one rank told together, exactly as it told them.

    `steps` int64 [k] rising, `times` float64 [k] seconds since the epoch, `values` float32 [columns, k];
    a place without a value holds `foreshock.wire.MISSING`, which is a NaN, and `is_missing` tells it apart.
    """

    rank: int
    attempt: int
    layout_id: int
    stream: str
    columns: tuple[str, ...]
    steps: IntArray
    times: FloatArray
    values: NDArray[np.float32]


class Values(NamedTuple):
    """One column of one rank: steps int64 [k], values float32 [k], NaN and Inf as they were measured."""

    steps: IntArray
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which frames are asked for; None means all, of `attempt` the newest. `stop` is inclusive."""

    columns: Sequence[str] | None = None
    attempt: int | None = None
    rank: int | None = None
    start: int | None = None
    stop: int | None = None


def read_frames(
    connection: Connection, path: str, selection: Selection, limit: int | None = None
) -> Iterator[Frames]:
    """Frames by rank, by layout, then by step, a page of at most `limit` values at a time.

    Raises ProblemError for a run, an attempt or a column that is not there.
    """
    asked: dict[str, Any] = {
        "column": None if selection.columns is None else list(selection.columns),
        "attempt": selection.attempt,
        "rank": selection.rank,
        "start": selection.start,
        "stop": selection.stop,
        "limit": limit,
    }
    cursor: str | None = None
    while True:
        page = connection.get_packed(f"{path}/frames", _Page, **asked, cursor=cursor)
        # An attempt that begins meanwhile must not be taken for the rest of this one
        asked["attempt"] = page.attempt
        for block in page.blocks:
            yield _opened(block, page.attempt)
        cursor = page.next
        if cursor is None:
            return


def join_values(pieces: Sequence[Frames], column: str) -> Values:
    """One column of the frames of one rank, by step, without the places where it has no value.

    Where two streams tell it at one step, the later one counts.
    """
    steps, values = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for frames in pieces:
        if column in frames.columns:
            of_column = frames.values[frames.columns.index(column)]
            here = ~is_missing(of_column)
            steps.append(frames.steps[here])
            values.append(of_column[here])
    joined, told = np.concatenate(steps), np.concatenate(values)
    order = np.argsort(joined, kind="stable")
    joined, told = joined[order], told[order]
    is_last = np.append(joined[1:] != joined[:-1], True)[: len(joined)]
    return Values(joined[is_last], told[is_last])


def _opened(block: _Block, attempt: int) -> Frames:
    steps = np.frombuffer(block.steps, "<i8").astype(np.int64, copy=False)
    return Frames(
        rank=block.rank,
        attempt=attempt,
        layout_id=block.layout_id,
        stream=block.stream,
        columns=tuple(block.columns),
        steps=steps,
        times=np.frombuffer(block.times, "<f8").astype(np.float64, copy=False),
        values=np.frombuffer(block.values, "<f4").reshape(len(block.columns), len(steps)),
    )

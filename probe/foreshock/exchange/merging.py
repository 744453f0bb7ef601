"""Streams of different cadences joined into rows, a bounded number at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foreshock.exchange.staging import Block, Place, StepArray, TimeArray, ValueArray
from foreshock.wire import MISSING, is_missing

MAX_ROWS: Final = 2**16
MAX_VALUES: Final = 2**21


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one rank: steps int64 [k] rising, times float64 [k], values float32 [k, columns].

    A place without a value holds MISSING.
    """

    rank: int
    steps: StepArray
    times: TimeArray
    values_KC: ValueArray

    @property
    def num_values(self) -> int:
        """How many places have a value."""
        return int(np.count_nonzero(~is_missing(self.values_KC)))


@dataclass(slots=True)
class Staged:
    """A stream that was set aside: which columns of the table it tells, and where its blocks lie."""

    places_C: NDArray[np.intp]
    blocks: list[Place]


class _Reader:
    """One stream, read block by block; holds one at a time."""

    def __init__(self, stream: Staged, get: Callable[[Place], Block]) -> None:
        self.places_C = stream.places_C
        self._left, self._get = iter(stream.blocks), get
        self._block: Block | None = None
        self._start = 0

    @property
    def steps(self) -> StepArray:
        """What is left of the block; the next block's where nothing is, and nothing at the end."""
        while self._block is None or self._start >= len(self._block.steps):
            place = next(self._left, None)
            if place is None:
                return np.zeros(0, np.int64)
            self._block, self._start = self._get(place), 0
        return self._block.steps[self._start :]

    def take(self, upto: int) -> Block:
        """The rows up to a step, of the block that is held."""
        assert self._block is not None
        end = self._start + int(np.searchsorted(self.steps, upto, "right"))
        part, self._start = slice(self._start, end), end
        block = self._block
        return Block(block.steps[part], block.times[part], block.values_KC[part])


def merge(
    rank: int, streams: Sequence[Staged], num_columns: int, get: Callable[[Place], Block]
) -> Iterator[Part]:
    """The rows of a rank by step, those without any value left out.

    Where two streams tell one column at one step, the later one counts. The time of a row is the
    earliest that a stream has told of its step.
    """
    readers = [_Reader(stream, get) for stream in streams]
    most = max(1, min(MAX_ROWS, MAX_VALUES // max(1, num_columns)))
    while True:
        heads = [steps for reader in readers if len(steps := reader.steps)]
        if not heads:
            return
        # Beyond the end of a block that is held, its stream may have steps that are not here yet
        upto = min(int(steps[-1]) for steps in heads)
        nearest = np.unique(np.concatenate([steps[:most] for steps in heads]))[:most]
        upto = min(upto, int(nearest[-1]))
        yield _join(rank, [(r.places_C, r.take(upto)) for r in readers if len(r.steps)], num_columns)


def _join(rank: int, blocks: Sequence[tuple[NDArray[np.intp], Block]], num_columns: int) -> Part:
    steps = np.unique(np.concatenate([block.steps for _, block in blocks]))
    times = np.full(len(steps), np.inf)
    values_KC = np.full((len(steps), num_columns), MISSING, np.float32)
    for places_C, block in blocks:
        rows = np.searchsorted(steps, block.steps)
        times[rows] = np.minimum(times[rows], block.times)
        there = np.ix_(rows, places_C)
        values_KC[there] = np.where(is_missing(block.values_KC), values_KC[there], block.values_KC)
    has_value = ~is_missing(values_KC).all(axis=1)
    return Part(rank, steps[has_value], times[has_value], values_KC[has_value])

"""The windows behind the steps at which a trend is due, many at a time: which of them can show one.

A pair of samples counts for every window that holds both. So the pairs of all windows are looked at
once, in a band of samples by lags, and a window adds up its own part of it.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from foreshock.server.detection.context import IndexArray
from foreshock.server.detection.sample import BoolArray, FloatArray, StepArray
from foreshock.server.detection.trend import least_score, pairs, plain_variance, upper_tail


@dataclass(frozen=True)
class DueWindows:
    """Windows [D] of remembered samples [T]: each has those from `first` to before `end`."""

    steps: StepArray
    values: FloatArray
    first: IndexArray
    end: IndexArray

    @property
    def counts(self) -> IndexArray:
        """How many samples each window has."""
        return self.end - self.first

    def spans(self) -> StepArray:
        """The steps from each window's first sample to its last, -1 where it has none."""
        if not len(self.steps):
            return np.full(len(self.first), -1)
        first = self.steps.take(self.first, mode="clip")
        return np.where(self.counts > 0, self.steps[self.end - 1] - first, -1)

    def logarithms(self) -> Self:
        """The same windows of the logarithms of what is positive; the rest is left out."""
        positive = self.values > 0
        before = np.concatenate(([0], np.cumsum(positive)))
        values = np.log(self.values[positive])
        return type(self)(self.steps[positive], values, before[self.first], before[self.end])

    def are_positive(self) -> BoolArray:
        """Which windows hold positive values alone."""
        before = np.concatenate(([0], np.cumsum(self.values > 0)))
        found: BoolArray = before[self.end] - before[self.first] == self.counts
        return found

    def can_move(self, sign: int, p_value: float) -> BoolArray:
        """Which windows show a rise (a fall, for a sign of -1) before serial correlation is allowed for.

        The correction only ever makes a p-value under a half larger.
        """
        score = sign * (self._over_pairs(self._lag_rises > 0) - self._over_pairs(self._lag_rises < 0))
        least = np.array(
            [least_score(count, p_value) for count in range(int(self.counts.max(initial=0)) + 1)]
        )
        found: BoolArray = score >= least[self.counts]
        # With ties a lower score will do
        if not (np.diff(np.sort(self.values)) == 0).any():
            return found
        tied = self._over_pairs(self._lag_rises == 0) > 0
        for place in np.flatnonzero(tied & (score > 0)).tolist():
            values = self.values[self.first[place] : self.end[place]]
            found[place] = upper_tail(int(score[place]), plain_variance(values)) < p_value
        return found

    def can_gain(self, sign: int, pace: float) -> BoolArray:
        """Which windows may have a Theil-Sen slope of `pace` a step or more: half of their pairs do."""
        num_fast = self._over_pairs(sign * self._lag_rises >= pace * self._lag_steps)
        found: BoolArray = 4 * num_fast >= self.counts * (self.counts - 1)
        return found

    def ends_fast(self, sign: int, pace: FloatArray) -> BoolArray:
        """Which windows' newest thirds may have a Theil-Sen slope of their own `pace` [D] or more."""
        found = np.zeros(len(self.first), np.bool_)
        sizes = np.array([newest_third(count) for count in self.counts.tolist()])
        for size in np.unique(sizes).tolist():
            here = np.flatnonzero(sizes == size)
            later, earlier = (self.end[here, None] - size + places for places in pairs(size))
            rises = sign * (self.values[later] - self.values[earlier])
            num_fast = np.count_nonzero(
                rises >= pace[here, None] * (self.steps[later] - self.steps[earlier]), axis=1
            )
            found[here] = 2 * num_fast >= later.shape[1]
        return found

    def part(self, wanted: BoolArray) -> Self:
        """Some of the windows."""
        return type(self)(self.steps, self.values, self.first[wanted], self.end[wanted])

    @cached_property
    def _most(self) -> int:
        """Samples of the longest window."""
        return max(1, int(self.counts.max(initial=0)))

    @cached_property
    def _lag_rises(self) -> FloatArray:
        """By how much a sample is over those before it [T, lag]; NaN where there is none."""
        return self.values[:, None] - _behind(self.values, self._most)

    @cached_property
    def _lag_steps(self) -> FloatArray:
        """By how many steps a sample is behind those before it [T, lag]; NaN where there is none."""
        steps = self.steps.astype(np.float64)
        return steps[:, None] - _behind(steps, self._most)

    def _over_pairs(self, is_so: BoolArray) -> NDArray[np.int64]:
        """How many pairs of each window are so [D], of what is so of samples and lags [T, lag]."""
        upto = np.zeros((is_so.shape[0] + 1, is_so.shape[1] + 1), np.int64)
        np.cumsum(is_so, axis=1, out=upto[:-1, 1:])
        # A window's sample number m forms pairs with the m before it
        number = np.arange(self._most)
        samples = self.first[:, None] + number
        inside = samples < self.end[:, None]
        found: NDArray[np.int64] = np.where(inside, upto[np.where(inside, samples, -1), number], 0).sum(
            axis=1
        )
        return found


def newest_third(count: int) -> int:
    """How many of a window's samples tell its newest pace."""
    return max(3, count // 3)


def _behind(values: FloatArray, most: int) -> FloatArray:
    """The `most` - 1 values before each [T, lag], the nearest first; NaN where there is none."""
    padded = np.concatenate((np.full(most - 1, np.nan), values))
    if most == 1:
        return np.empty((len(values), 0))
    return np.lib.stride_tricks.sliding_window_view(padded, most - 1)[: len(values), ::-1]


def hops(steps: StepArray, earliest: int, gap: int) -> IndexArray:
    """Places of rising steps [k]: the first from `earliest` on, then each the first that is `gap` later."""
    start = int(np.searchsorted(steps, earliest))
    if start == len(steps) or steps[-1] - steps[start] == len(steps) - 1 - start:
        return np.arange(start, len(steps), gap)
    found, listed = [], steps.tolist()
    while start < len(listed):
        found.append(start)
        start = bisect_left(listed, listed[start] + gap, start + 1)
    return np.array(found, np.intp)

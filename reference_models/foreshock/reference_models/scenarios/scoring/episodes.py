"""Alarms as people meet them: pages. An episode is an alarm that is on, its gaps closed; its start pages.

A page at row i for a threshold t needs score_i > t, and nothing above t in the rows of the gap before it.
So each row pages for the thresholds of one interval, [largest of the gap before, its own score): all
thresholds are scanned at once.

Shape suffixes: R rows, P pages.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.ndimage import maximum_filter1d

from foreshock.reference_models.scenarios.scoring.watcher import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Pages:
    """Rows that page [P], and for each the thresholds [low, high) at which it does."""

    rows: IntArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, score_R: FloatArray, gap: int) -> Self:
        """The pages of a score; NaN is silence. Alarms less than `gap` rows apart are one."""
        silent_R = np.where(np.isnan(score_R), -np.inf, score_R)
        before_R = largest_between(silent_R, gap, 1)
        rows = np.flatnonzero(silent_R > before_R)
        return cls(rows.astype(np.int64), before_R[rows], silent_R[rows])

    def at(self, threshold: float) -> IntArray:
        """The rows that page at one threshold."""
        return self.rows[(self.low <= threshold) & (threshold < self.high)]


def largest_between(score_R: FloatArray, furthest: int, nearest: int) -> FloatArray:
    """The largest of the scores from `furthest` to `nearest` rows before each, -inf where there is none."""
    width = furthest - nearest + 1
    padded = np.concatenate([np.full(furthest, -np.inf), score_R])
    filtered = maximum_filter1d(padded, width, mode="constant", cval=-np.inf)
    largest: FloatArray = filtered[width // 2 : width // 2 + len(score_R)]
    return largest


def in_force(on_R: BoolArray, furthest: int, nearest: int) -> BoolArray:
    """Where an alarm of the rows from `furthest` to `nearest` before covers a row."""
    return largest_between(on_R.astype(np.float64), furthest, nearest) > 0

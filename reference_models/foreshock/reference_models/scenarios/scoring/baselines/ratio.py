"""Values so many times what they were."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from foreshock.reference_models.scenarios.scoring.baselines.windows import (
    not_finite_is_infinite,
    past,
    past_moments,
    series,
)
from foreshock.reference_models.scenarios.scoring.watcher import Attempt, FloatArray, Watch
from foreshock.server.detection.block import Block

Reference = Literal["median", "mean", "largest of the first"]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A signal over the median or mean of its last `window` values, or over the largest of its first."""

    name: str
    source: str
    signal: str
    reference: Reference
    window: int
    threshold: float | None

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        """The ratio; NaN until half the window is known, of the first until all of it is."""
        values_S = series(blocks, self.signal)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            ratio_S = values_S / self._reference(values_S)
        return Watch(not_finite_is_infinite(ratio_S, values_S))

    def _reference(self, values_S: FloatArray) -> FloatArray:
        finite_S = np.where(np.isfinite(values_S), values_S, np.nan)
        if self.reference == "mean":
            return past_moments(values_S, self.window, self.window // 2)[0]
        if self.reference == "median":
            return _past_median(finite_S, self.window)
        known = np.flatnonzero(~np.isnan(finite_S))
        reference_S = np.full(len(values_S), np.nan)
        if len(known) > self.window:
            reference_S[known[self.window - 1] + 1 :] = finite_S[known[: self.window]].max()
        return reference_S


def _past_median(values_S: FloatArray, window: int) -> FloatArray:
    rows = past(values_S, window)
    is_known = (~np.isnan(rows)).sum(axis=1) >= window // 2
    with warnings.catch_warnings():
        # Windows without a value are among those that are passed over
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.where(is_known, np.nanmedian(rows, axis=1), np.nan)

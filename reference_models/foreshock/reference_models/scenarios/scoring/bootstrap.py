"""Intervals by resampling runs: the steps of a run are one sample, not thousands.

Shape suffixes: N runs, B replicates.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from foreshock.reference_models.scenarios.scoring.watcher import BoolArray, FloatArray

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score with its interval. `value` is None where it cannot be told, and `why` says so."""

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {key: value for key, value in asdict(self).items() if key != "why" or value is not None}


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How often each run is drawn in each replicate, [N, B]."""

    draws_NB: FloatArray

    @classmethod
    def of(cls, num_runs: int, num_replicates: int, seed: int) -> "Bootstrap":
        """Draws runs with replacement; the same seed draws the same."""
        generator = np.random.default_rng(seed)
        if not num_runs:
            return cls(np.zeros((0, num_replicates)))
        draws_BN = generator.multinomial(num_runs, np.full(num_runs, 1 / num_runs), size=num_replicates)
        return cls(draws_BN.T.astype(np.float64))

    @property
    def num_replicates(self) -> int:
        """How many replicates there are."""
        return int(self.draws_NB.shape[1])

    def sums(self, values_N: ArrayLike) -> FloatArray:
        """The sum over runs in each replicate, [B]; of [..., N] likewise."""
        sums: FloatArray = np.asarray(values_N, np.float64) @ self.draws_NB
        return sums

    def ratio(self, above_N: ArrayLike, below_N: ArrayLike, why: str, scale: float = 1.0) -> Estimate:
        """Sum over sum, times `scale`; cannot be told, for `why`, where the sum below is 0.

        Where nothing was counted, or all of it, every replicate is the same and the interval would claim
        certainty: its other end is then where so extreme a count has a chance of 5 % (for many cases the
        rule of three).
        """
        above, below = np.asarray(above_N, np.float64), np.asarray(below_N, np.float64)
        if below.sum() <= 0:
            return Estimate(None, why=why)
        with np.errstate(divide="ignore", invalid="ignore"):
            replicates = scale * self.sums(above) / self.sums(below)
        value = scale * float(above.sum() / below.sum())
        doubt = scale * (1 - (1 - CONFIDENCE) ** (1 / float(below.sum())))
        if above.sum() == 0:
            return Estimate(value, value, doubt)
        if np.array_equal(above, below):
            return Estimate(value, value - doubt, value)
        return interval(value, replicates)

    def quantile(self, values_N: ArrayLike, share: float, why: str) -> Estimate:
        """A quantile of the runs' values; a run without one, NaN, does not count."""
        values = np.asarray(values_N, np.float64)
        rows = np.flatnonzero(~np.isnan(values))
        if not len(rows):
            return Estimate(None, why=why)
        counts = self.draws_NB[rows].astype(np.int64)
        replicates = [
            float(np.quantile(np.repeat(values[rows], counts[:, column]), share))
            for column in range(counts.shape[1])
            if counts[:, column].any()
        ]
        return interval(float(np.quantile(values[rows], share)), np.array(replicates))

    def masked(self, is_kept_N: BoolArray) -> "Bootstrap":
        """The same draws of some of the runs."""
        return Bootstrap(self.draws_NB[is_kept_N])


def interval(value: float, replicates: FloatArray) -> Estimate:
    """The percentile interval; there is none where fewer than half of the replicates have a value."""
    known = replicates[np.isfinite(replicates)]
    if len(known) < max(2, len(replicates) / 2):
        return Estimate(value)
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high))

"""The difference of two groups of seeds at each bucket, with Welch's interval.

Welch, "The generalization of Student's problem when several different population variances are
involved", Biometrika 34 (1947): the groups need not be of one size nor of one variance. Each bucket is
taken by itself: over many buckets some intervals leave the truth out by chance.
"""

from typing import Literal

import numpy as np
from scipy.special import stdtrit

from foreshock.server.store.compare import CONFIDENCE
from foreshock.server.store.curves import Reals
from foreshock.wire.readings import GroupDifference, GroupSeries, IntArray


def difference_of(
    of: GroupSeries, against: GroupSeries, scale: Literal["linear", "log"]
) -> GroupDifference | None:
    """The first group's mean minus the second's, on the steps that both have; None where they share none.

    A log signal's means are of logarithms, so that the difference is a ratio. A seed without a finite
    value at a step has no part in it; an interval needs two seeds in each group.
    """
    steps, of_at, against_at = np.intersect1d(of.first_step, against.first_step, return_indices=True)
    if not len(steps):
        return None
    moments = [_moments(group, at, scale) for group, at in ((of, of_at), (against, against_at))]
    (mean, error, count), (other_mean, other_error, other_count) = moments
    with np.errstate(all="ignore"):
        middle, total = mean - other_mean, error + other_error
        freedom = total**2 / (error**2 / (count - 1) + other_error**2 / (other_count - 1))
        spread = np.where(total > 0, stdtrit(freedom, 0.5 + CONFIDENCE / 2) * np.sqrt(total), 0.0)
        spread = np.where((count > 1) & (other_count > 1), spread, np.nan)
        ends = middle, middle - spread, middle + spread
        middle, low, high = map(np.exp, ends) if scale == "log" else ends
    kind: Literal["difference", "ratio"] = "ratio" if scale == "log" else "difference"
    return GroupDifference(of.key, against.key, kind, steps, middle, low, high, count, other_count)


def _moments(
    group: GroupSeries, at: IntArray, scale: Literal["linear", "log"]
) -> tuple[Reals, Reals, IntArray]:
    """Mean, squared standard error and number of the seeds, each [k]."""
    values = np.stack([seed.values[at] for seed in group.seeds])
    with np.errstate(all="ignore"):
        shown = np.log(values) if scale == "log" else values
        here = np.isfinite(shown)
        count = here.sum(axis=0)
        mean = np.where(here, shown, 0.0).sum(axis=0) / count
        squares = np.where(here, (shown - mean) ** 2, 0.0).sum(axis=0)
        return mean, squares / (count - 1) / count, count

"""Is a series rising, and how fast: Mann-Kendall's test and the Theil-Sen slope.

Both are ranks and medians, so one spike cannot fake a trend. Training series are serially
correlated, which makes the plain test see trends in noise; the Hamed-Rao correction (J. Hydrology
204, 1998) widens its variance by what the ranks of the detrended series show.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
StepArray = NDArray[np.int64]

ROUNDING = 1e-9
EXACT_UP_TO = 10


@dataclass(frozen=True, slots=True)
class Trend:
    """What a test of one window says.

    `p_rising` and `p_falling` are one-sided; `slope` is per step, in the unit of the values, and
    `change` is the slope times the steps that the window spans.
    """

    num_samples: int
    first_step: int
    last_step: int
    p_rising: float
    p_falling: float
    slope: float

    @property
    def span_steps(self) -> int:
        """The steps from the first sample to the last."""
        return self.last_step - self.first_step

    @property
    def change(self) -> float:
        """By how much the line rises over the window."""
        return self.slope * self.span_steps


def trend(steps: StepArray, values: FloatArray) -> Trend:
    """Tests finite `values` [k] at rising `steps` [k]; fewer than three samples show no trend."""
    n = len(values)
    if n < 3:
        first, last = (int(steps[0]), int(steps[-1])) if n else (0, 0)
        return Trend(n, first, last, 1.0, 1.0, 0.0)
    p_rising, p_falling = mann_kendall(values, detrend(steps, values))
    slope = theil_sen(steps, values)
    return Trend(n, int(steps[0]), int(steps[-1]), p_rising, p_falling, slope)


def detrend(steps: StepArray, values: FloatArray) -> FloatArray:
    """What is left of values [k] beside a cubic: the noise whose correlation the test must know.

    The method's own straight line leaves the bends of a real rise in the residual, where they pass
    for serial correlation: a gain that rose from 1 to 13 in 30 steps was not significant for 25
    steps more. On noise the cubic costs little, see the room's README.
    """
    if len(values) <= EXACT_UP_TO:
        return values
    basis = _cubics((steps - steps[0]).tobytes())
    left: FloatArray = values - basis @ (basis.T @ values)
    # A curve without noise leaves rounding errors, whose order means nothing
    return left if np.ptp(left) > ROUNDING * np.ptp(values) else np.zeros_like(left)


@lru_cache(maxsize=256)
def _cubics(offsets: bytes) -> FloatArray:
    """An orthonormal basis [k, 4] of the cubics at steps [k], which most windows of a run share."""
    steps = np.frombuffer(offsets, np.int64)
    centred = (steps - steps.mean()) / max(1.0, float(np.ptp(steps)))
    basis: FloatArray = np.linalg.qr(np.vander(centred, 4))[0]
    return basis


def theil_sen(steps: StepArray, values: FloatArray) -> float:
    """The median of the slopes of all pairs, per step; steps may be uneven."""
    later, earlier = pairs(len(values))
    slopes = (values[later] - values[earlier]) / (steps[later] - steps[earlier])
    # The median, four times as fast as NumPy's, which looks for NaN first
    upper = len(slopes) // 2
    slopes.partition(upper)
    if len(slopes) % 2:
        return float(slopes[upper])
    return float((slopes[:upper].max() + slopes[upper]) / 2)


def mann_kendall(values: FloatArray, detrended: FloatArray | None = None) -> tuple[float, float]:
    """One-sided p-values (rising, falling) of values [k] in order.

    Up to ten samples without ties the null distribution is exact and independence is assumed:
    so few samples cannot show their own correlation. Beyond, it is normal with the continuity
    correction and a variance for ties, widened as the ranks of `detrended` [k] are correlated.
    """
    n = len(values)
    score = kendall_score(values)
    has_ties = bool((np.diff(np.sort(values)) == 0).any())
    if n <= EXACT_UP_TO and not has_ties:
        return _exact_tail(n, score), _exact_tail(n, -score)
    variance = plain_variance(values) if has_ties else _variance(n)
    if detrended is not None and n > EXACT_UP_TO:
        variance *= correlation_factor(detrended)
    return upper_tail(score, variance), upper_tail(-score, variance)


def plain_variance(values: FloatArray) -> float:
    """The variance of the score of values [k] without a trend, independent of each other; ties narrow it."""
    counts = np.unique(values, return_counts=True)[1]
    return _variance(len(values), float(np.sum(counts * (counts - 1) * (2 * counts + 5))))


def _variance(n: int, ties: float = 0.0) -> float:
    return (n * (n - 1) * (2 * n + 5) - ties) / 18


def upper_tail(score: int, variance: float) -> float:
    """The one-sided p-value of a score, by the normal distribution with the continuity correction."""
    return 1.0 if variance <= 0 else _normal_tail((score - 1) / math.sqrt(variance))


@lru_cache(maxsize=4096)
def least_score(n: int, p_value: float) -> int:
    """The lowest score of n samples without ties that is significant; one more than all pairs where none is.

    Without serial correlation, for which a higher one may be needed.
    """
    low, high = 0, n * (n - 1) // 2 + 1
    while low < high:
        score = (low + high) // 2
        p_rising = _exact_tail(n, score) if n <= EXACT_UP_TO else upper_tail(score, _variance(n))
        low, high = (low, score) if p_rising < p_value else (score + 1, high)
    return low


def kendall_score(values: FloatArray) -> int:
    """Pairs that rise less pairs that fall."""
    later, earlier = pairs(len(values))
    a, b = values[later], values[earlier]
    return int(np.count_nonzero(a > b)) - int(np.count_nonzero(a < b))


def correlation_factor(detrended: FloatArray) -> float:
    """Hamed-Rao's n / n*, at least 1: by how much serial correlation widens the variance.

    Two departures, both towards silence: lags after the first that is not significant are noise and
    are left out, and the correction never narrows the variance. Each coefficient is raised by the
    bias (1 + 4 rho) / n that estimating it from a short detrended series brings.
    """
    n = len(detrended)
    ranks = _ranks(detrended)
    ranks -= ranks.mean()
    power = float(ranks @ ranks)
    if power <= 0:
        return 1.0
    rho = np.correlate(ranks, ranks, "full")[n:] / power
    rho = np.minimum(rho + (1 + 4 * np.maximum(rho, 0.0)) / n, 0.99)
    insignificant = np.flatnonzero(rho <= 1.645 / math.sqrt(n))
    last = int(insignificant[0]) if len(insignificant) else n - 1
    lags = np.arange(1, last + 1)
    weighted = (n - lags) * (n - lags - 1.0) * (n - lags - 2.0) * rho[:last]
    return max(1.0, 1.0 + 2.0 / (n * (n - 1.0) * (n - 2.0)) * float(weighted.sum()))


@lru_cache(maxsize=512)
def pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The later and the earlier place of all pairs of n places."""
    earlier, later = np.triu_indices(n, 1)
    return later, earlier


@lru_cache(maxsize=64)
def _exact_tails(n: int) -> tuple[float, ...]:
    """P(at least k of the pairs fall in order), from the numbers of inversions of permutations."""
    counts = np.ones(1)
    for size in range(2, n + 1):
        counts = np.convolve(counts, np.ones(size))
    return tuple((np.cumsum(counts[::-1])[::-1] / counts.sum()).tolist())


def _exact_tail(n: int, score: int) -> float:
    rising_pairs = (n * (n - 1) // 2 + score) // 2
    return _exact_tails(n)[rising_pairs]


def _normal_tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2))


def _ranks(values: FloatArray) -> FloatArray:
    """Ranks from 1, the mean of theirs for ties."""
    ordered = np.sort(values)
    low = np.searchsorted(ordered, values, "left")
    high = np.searchsorted(ordered, values, "right")
    return (low + high + 1) / 2.0

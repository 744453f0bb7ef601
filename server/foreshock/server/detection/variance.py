"""Has the variance across seeds fallen: tests for few runs, with effect and interval, never a bare p."""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

FloatArray = NDArray[np.float64]

FEWEST: Final = 3
ENOUGH: Final = 6
NUM_RESAMPLES: Final = 4000
# Large groups need fewer, and would take seconds
NUM_DRAWS: Final = 400_000
FEWEST_RESAMPLES: Final = 400
LEVEL: Final = 0.05
# What was significant is so no more only beyond this, so that one more run cannot flip it to and fro
CLEAR_LEVEL: Final = 0.1
# A gain of 1 in float32, and a loss that repeats itself, differ by rounding only: a spread (standard
# deviation of logarithms) below this is none, and ratios over it would be measures of the rounding
LEAST_SPREAD: Final = 1e-4
LEAST_VARIANCE: Final = LEAST_SPREAD**2


@dataclass(frozen=True, slots=True)
class VarianceTest:
    """Whether the constrained group's variance is lower than the baseline's, on logarithms.

    `effect` is the ratio of variances, baseline over constrained; `interval` its 95 % bootstrap
    interval. `is_weak` marks evidence from fewer than 6 runs a group. No group counts as calmer than
    LEAST_SPREAD.
    """

    quantity: str
    test: str
    p_value: float
    effect: float
    interval: tuple[float, float]
    is_weak: bool
    is_significant: bool
    num_constrained: int
    num_baseline: int
    variance_constrained: float
    variance_baseline: float

    @property
    def is_near(self) -> bool:
        """Whether it is significant, or would be at the level at which a significant one is let go."""
        return self.is_significant or self.p_value < CLEAR_LEVEL

    @property
    def words(self) -> str:
        """The result as a sentence."""
        weak = ", weak evidence from so few runs" if self.is_weak else ""
        verdict = "lower" if self.is_significant else "not significantly lower"
        return (
            f"The variance of {self.quantity.replace('_', ' ')} is {verdict}: {self._effect} "
            f"(95 % interval of the ratio {self.interval[0]:.3g} to {self.interval[1]:.3g}; {self.test}, "
            f"{_p_words(self.p_value)}, {self.num_constrained} against {self.num_baseline} runs{weak})."
            f"{self._still}"
        )

    @property
    def _effect(self) -> str:
        return f"{self.effect:.3g} times less" if self.effect >= 1 else f"{1 / self.effect:.3g} times more"

    @property
    def _still(self) -> str:
        """What is said of groups without a spread."""
        variances = {"constrained": self.variance_constrained, "baseline": self.variance_baseline}
        still = [name for name, variance in variances.items() if variance <= LEAST_VARIANCE]
        if not still:
            return ""
        return (
            f" The {' and the '.join(still)} group has no spread measurable; {LEAST_SPREAD:g} stands for it, "
            "so the ratio is a bound and no measurement."
        )


def compare_variance(
    quantity: str, constrained: FloatArray, baseline: FloatArray, level: float = LEVEL
) -> VarianceTest | None:
    """Tests logarithms [k] of two groups; None with fewer than three runs in either.

    With 3 to 5 runs a one-sided F test, from 6 on Brown-Forsythe: with 3 against 3 the latter can
    never be significant (its F cannot exceed 4.0, the critical value is 7.7). Neither the order of the
    runs nor the clock has a say: the same numbers give the same result. Raises ValueError for values that
    are not finite.
    """
    if not (np.isfinite(constrained).all() and np.isfinite(baseline).all()):
        raise ValueError(f"{quantity} holds values that are not finite; leave them out and say so")
    constrained, baseline = np.sort(constrained), np.sort(baseline)
    fewest = min(len(constrained), len(baseline))
    if fewest < FEWEST:
        return None
    low, high = _variance(constrained), _variance(baseline)
    name, p_value = ("F test", _f_test(constrained, baseline))
    if fewest >= ENOUGH:
        name, p_value = ("Brown-Forsythe", _brown_forsythe(constrained, baseline))
    return VarianceTest(
        quantity,
        f"one-sided {name} on logarithms",
        p_value,
        _ratio(high, low),
        _bootstrap(constrained, baseline),
        fewest < ENOUGH,
        p_value < level,
        len(constrained),
        len(baseline),
        low,
        high,
    )


def _p_words(p_value: float) -> str:
    return "p < 1e-12" if p_value < 1e-12 else f"p = {p_value:.2g}"


def _variance(values: FloatArray) -> float:
    return float(np.var(values, ddof=1))


def _ratio(high: float, low: float) -> float:
    return max(high, LEAST_VARIANCE) / max(low, LEAST_VARIANCE)


def _f_test(constrained: FloatArray, baseline: FloatArray) -> float:
    ratio = _ratio(_variance(baseline), _variance(constrained))
    return float(fdtrc(len(baseline) - 1, len(constrained) - 1, ratio))


def _brown_forsythe(constrained: FloatArray, baseline: FloatArray) -> float:
    """One-sided: half of the two-sided p where the constrained group's spread is the smaller one."""
    if max(_variance(constrained), _variance(baseline)) <= LEAST_VARIANCE:
        return 1.0
    spreads = [np.abs(group - np.median(group)) for group in (constrained, baseline)]
    if all(float(np.ptp(spread)) == 0 for spread in spreads):
        return 1.0 if spreads[0].mean() >= spreads[1].mean() else 0.0
    # A collector that judges no pair starts without it in a third less time
    from scipy import stats

    two_sided = float(stats.levene(constrained, baseline, center="median").pvalue)
    return two_sided / 2 if spreads[0].mean() < spreads[1].mean() else 1 - two_sided / 2


def _bootstrap(constrained: FloatArray, baseline: FloatArray) -> tuple[float, float]:
    """Percentiles of the ratio over resamples of runs; resamples of one run alone say nothing."""
    seed = hashlib.blake2b(constrained.tobytes() + b"|" + baseline.tobytes(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(seed, "big"))
    largest = max(len(constrained), len(baseline))
    num_resamples = max(FEWEST_RESAMPLES, min(NUM_RESAMPLES, NUM_DRAWS // largest))
    low = _resampled_variance(rng, constrained, num_resamples)
    high = _resampled_variance(rng, baseline, num_resamples)
    usable = ((low > 0) | (np.ptp(constrained) == 0)) & ((high > 0) | (np.ptp(baseline) == 0))
    ratios = np.maximum(high, LEAST_VARIANCE)[usable] / np.maximum(low, LEAST_VARIANCE)[usable]
    return float(np.quantile(ratios, 0.025)), float(np.quantile(ratios, 0.975))


def _resampled_variance(rng: np.random.Generator, values: FloatArray, num_resamples: int) -> FloatArray:
    picks = rng.integers(0, len(values), (num_resamples, len(values)))
    found: FloatArray = np.var(values[picks], axis=1, ddof=1)
    return found


def seeds_needed(effect: float, level: float = LEVEL, most: int = 30) -> int | None:
    """Seeds a group at which a ratio of variances of `effect` would be significant by the F test.

    None where `most` would not do. From 6 on Brown-Forsythe asks for somewhat more.
    """
    if effect <= 1:
        return None
    sizes = range(FEWEST, most + 1)
    return next((size for size in sizes if fdtrc(size - 1, size - 1, effect) < level), None)

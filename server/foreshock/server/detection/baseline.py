"""What a noisy falling series would be now if nothing had happened, and how noisy it is.

A robust line through the medians of both halves of a window: a plain median lags a falling curve.
The noise is the MAD of differences, over sqrt 2. Outliers are kept out by whoever asks.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
StepArray = NDArray[np.int64]

MAD_TO_SIGMA: Final = 1.4826
# A series that repeats itself bit by bit has no noise; a thousandth of its level is assumed then
LEAST_RELATIVE_NOISE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Baseline:
    """The expected value and the standard deviation around it."""

    level: float
    noise: float

    def z(self, value: float) -> float:
        """By how many standard deviations `value` is above."""
        return (value - self.level) / self.noise

    def excess(self, value: float) -> float:
        """By which share of the level `value` is above."""
        return (value - self.level) / max(abs(self.level), 1e-12)


def baseline(steps: StepArray, values: FloatArray, at_step: int) -> Baseline:
    """The baseline at `at_step` from at least four earlier samples [k]."""
    half = len(values) // 2
    latest = np.sort(values[half:])
    early, late = middle(np.sort(values[:half])), middle(latest)
    # Steps rise, so they are in order already
    early_step, late_step = middle(steps[:half]), middle(steps[half:])
    slope = (late - early) / max(late_step - early_step, 1.0)
    level = late + slope * (at_step - late_step)
    if slope < 0:
        # A falling curve flattens; a line through it must not promise less than the lowest quarter
        level = max(level, float(latest[len(latest) // 4]))
    differences = np.diff(values)
    spread = middle(np.sort(np.abs(differences - middle(np.sort(differences)))))
    noise = MAD_TO_SIGMA * spread / math.sqrt(2)
    return Baseline(level, max(noise, LEAST_RELATIVE_NOISE * abs(level), 1e-12))


def levels(steps: StepArray, values: FloatArray, at_steps: StepArray) -> FloatArray:
    """The levels [n] of the baselines of windows [n, k] with equally many samples, at `at_steps` [n]."""
    half = values.shape[1] // 2
    latest = np.sort(values[:, half:])
    early, late = _middles(np.sort(values[:, :half])), _middles(latest)
    early_step, late_step = _middles(steps[:, :half]), _middles(steps[:, half:])
    slope = (late - early) / np.maximum(late_step - early_step, 1.0)
    level = late + slope * (at_steps - late_step)
    least = np.where(slope < 0, latest[:, latest.shape[1] // 4], -np.inf)
    return np.maximum(level, least)


def noises(values: FloatArray, level: FloatArray) -> FloatArray:
    """The noise [n] around these baselines."""
    differences = np.diff(values)
    middle = _middles(np.sort(differences))
    spread = _middles(np.sort(np.abs(differences - middle[:, np.newaxis])))
    least = np.maximum(LEAST_RELATIVE_NOISE * np.abs(level), 1e-12)
    return np.maximum(MAD_TO_SIGMA * spread / math.sqrt(2), least)


def _middles(ordered: FloatArray | StepArray) -> FloatArray:
    """The medians [n] of sorted rows [n, k]."""
    half = ordered.shape[1] // 2
    if ordered.shape[1] % 2:
        return ordered[:, half].astype(np.float64)
    return (ordered[:, half - 1].astype(np.float64) + ordered[:, half]) / 2


def middle(ordered: FloatArray | StepArray) -> float:
    """The median of sorted values [k], without what np.median spends on being general."""
    half = len(ordered) // 2
    if len(ordered) % 2:
        return float(ordered[half])
    return (float(ordered[half - 1]) + float(ordered[half])) / 2

"""Trend tests on a run's history, bounded in cost, with the words that reasons share."""

import math
from dataclasses import dataclass

import numpy as np

from foreshock.server.detection.baseline import middle
from foreshock.server.detection.measures import Measure
from foreshock.server.detection.rule import Moment
from foreshock.server.detection.trend import FloatArray, StepArray, Trend, mann_kendall, trend

LOGARITHMIC = frozenset({Measure.LOG_COMPOSITE_FORWARD, Measure.LOG_COMPOSITE_BACKWARD})


@dataclass(frozen=True, slots=True)
class TrendTest:
    """When a series counts as moving.

    The window and its halves are looked at, down to the shortest that a rule allows, the p-value
    shared among them: a long window sees a slow rise, a short one a rise that has just begun.

    window_steps: how far back it looks, never over a logged schedule change.
    min_samples: windows with fewer say nothing; 7 in order have an exact p of 2e-4.
    max_samples: longer windows are thinned evenly, which bounds the cost.
    p_value: one-sided, Mann-Kendall with the Hamed-Rao correction.
    min_change: least change over a window, as a share (0.1 is 10 %): significant is not yet much.
    """

    window_steps: int = 200
    min_samples: int = 7
    max_samples: int = 100
    p_value: float = 1e-3
    min_change: float = 0.1

    def rise(
        self, moment: Moment, measure: Measure, shortest_steps: int, in_logs: bool = True
    ) -> Trend | None:
        """The longest window in which the measure (its logarithm) rises, None where none does."""
        return self._find(moment, measure, 1, shortest_steps, in_logs)

    def fall(
        self, moment: Moment, measure: Measure, shortest_steps: int, in_logs: bool = True
    ) -> Trend | None:
        """The longest window in which the measure (its logarithm) falls, None where none does."""
        return self._find(moment, measure, -1, shortest_steps, in_logs)

    def look(self, moment: Moment, measure: Measure) -> Trend | None:
        """The trend of a positive measure's logarithm over the whole window, None with too few samples."""
        steps, values = self._window(moment, measure, True)
        return None if len(values) < self.min_samples else trend(*self._thinned(steps, values))

    def ends(self, moment: Moment, measure: Measure) -> tuple[float, float]:
        """Medians of the first and last quarter of the window, of a positive measure's values."""
        _, values = self._window(moment, measure, True)
        first, last = _end_medians(values)
        return math.exp(first), math.exp(last)

    def _find(
        self, moment: Moment, measure: Measure, sign: int, shortest_steps: int, in_logs: bool
    ) -> Trend | None:
        steps, values = self._window(moment, measure, in_logs)
        windows = _halves(self.window_steps, shortest_steps)
        base = math.e if in_logs else 2.0
        least = math.log1p(self.min_change) / math.log(base)
        seen = 0
        for window in windows:
            start = int(np.searchsorted(steps, moment.step - window))
            if len(steps) - start in (seen, 0):
                continue
            seen = len(steps) - start
            # Cheap before dear: the ends of a window that moves differ by what it must have moved
            if seen < self.min_samples or sign * _ends(values[start:]) < least / 2:
                continue
            p_value = self.p_value / len(windows)
            chosen = self._thinned(steps[start:], values[start:])
            # What the correction for serial correlation could only make larger
            if mann_kendall(sign * chosen[1])[0] >= p_value:
                continue
            found = trend(*chosen)
            found_p = found.p_rising if sign > 0 else found.p_falling
            if found_p < p_value and sign * found.change >= least:
                return found
        return None

    def _window(self, moment: Moment, measure: Measure, in_logs: bool) -> tuple[StepArray, FloatArray]:
        steps, values = moment.history.since(measure, moment.since_schedule(self.window_steps))
        if not in_logs or measure in LOGARITHMIC:
            return steps, values
        positive = values > 0
        return steps[positive], np.log(values[positive])

    def _thinned(self, steps: StepArray, values: FloatArray) -> tuple[StepArray, FloatArray]:
        stride = -(-len(values) // self.max_samples)
        # Counted from the end, so that the newest sample always takes part
        return steps[::-1][::stride][::-1], values[::-1][::stride][::-1]


def _halves(window_steps: int, shortest_steps: int) -> list[int]:
    windows = [window_steps]
    while windows[-1] // 2 >= max(shortest_steps, 2):
        windows.append(windows[-1] // 2)
    return windows


def _ends(values: FloatArray) -> float:
    """Median of the last quarter less that of the first."""
    first, last = _end_medians(values)
    return last - first


def _end_medians(values: FloatArray) -> tuple[float, float]:
    quarter = max(1, len(values) // 4)
    return middle(np.sort(values[:quarter])), middle(np.sort(values[-quarter:]))


def per_step(found: Trend) -> str:
    """A trend of logarithms in words: how far, over how many steps, how fast, and how surely."""
    p_value = min(found.p_rising, found.p_falling)
    return (
        f"{_moved(found.change)} in {found.span_steps} steps (x{math.exp(found.slope):.4g} a step, "
        f"{found.num_samples} samples, Mann-Kendall p {p_words(p_value)})"
    )


def _moved(log_change: float) -> str:
    """A change of logarithms: in per cent, as a factor where that would be thousands of them."""
    if log_change >= math.log(10):
        return f"risen {math.exp(min(log_change, 700.0)):.3g}-fold"
    return f"{'risen' if log_change >= 0 else 'fallen'} {100 * abs(math.expm1(log_change)):.3g} %"


def p_words(p_value: float) -> str:
    """A p-value as people write it; the far tail of a test is no measurement."""
    return "< 1e-6" if p_value < 1e-6 else f"= {p_value:.1g}"


def doubling(found: Trend) -> str:
    """How long a rise of logarithms takes to double."""
    return f"doubling every {math.log(2) / found.slope:.0f} steps"

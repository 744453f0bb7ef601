"""`rises` or `falls`: a trend that is significant and large enough (Mann-Kendall, Theil-Sen)."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from foreshock.server.detection.context import RunContext
from foreshock.server.detection.rising import p_words
from foreshock.server.detection.sample import BoolArray
from foreshock.server.detection.trend import ROUNDING, FloatArray, StepArray, Trend, trend
from foreshock.server.detection.user_rules.criterion import Finding, Sight, judged
from foreshock.server.detection.user_rules.due import DueWindows
from foreshock.server.detection.user_rules.duration import Duration
from foreshock.server.detection.user_rules.section import Amount, Section
from foreshock.server.detection.user_rules.window import Memory
from foreshock.wire.signal import Reduction

MIN_SAMPLES: Final = 7
P_VALUE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Movement:
    """Holds while the quantity rises (or falls) over the window by at least `by`.

    A share is of the value itself: the trend is of logarithms, and values that are not positive are
    left out. Tested twenty times a window, from when half a window has been seen.
    """

    key: str
    by: Amount
    within: Duration
    p_value: float = P_VALUE

    @property
    def worst(self) -> Reduction:
        """The layer that has gone furthest."""
        return "max" if self.key == "rises" else "min"

    def window_steps(self, context: RunContext) -> int:
        """The window."""
        return self.within.steps(context)

    def judge(self, sight: Sight, memory: Memory) -> Finding | None:
        """Tests the window, never back over a logged schedule change."""
        window = self.window_steps(sight.moment.context)
        if sight.value is None or not math.isfinite(sight.value):
            return None
        if not memory.is_due(sight.step, sight.value, window):
            return None
        steps, values = memory.since(sight.moment.since_schedule(window))
        found = trend_of(steps, values, window // 2, in_logs=self.by.is_share)
        if found is None:
            return None
        change = math.expm1(min(found.change, 700.0)) if self.by.is_share else found.change
        sign = 1 if self.key == "rises" else -1
        p_value = found.p_rising if sign > 0 else found.p_falling
        holds = p_value < self.p_value and sign * change >= self.by.value
        value = sight.value

        def words() -> str:
            moved = f"{abs(change):.3g}" if not self.by.is_share else f"{100 * abs(change):.3g} %"
            verb = "has risen" if change >= 0 else "has fallen"
            told = (
                f"is {value:.4g} and {verb} {moved} in {found.span_steps} steps ({found.num_samples} "
                f"samples, Mann-Kendall p {p_words(p_value)})"
            )
            return f"{told}." if holds else f"{told}: it no longer {self.key} as much."

        return Finding(judged(holds, not holds), words)

    def can_hold(self, windows: DueWindows, values: FloatArray, context: RunContext) -> BoolArray:
        """Where the window is long enough, and may have risen significantly and far enough.

        windows [D], and values [D] of the steps that are due. Cheap, and never false where it holds.
        """
        window, sign = self.window_steps(context), 1 if self.key == "rises" else -1
        if self.by.is_share:
            windows = windows.logarithms()
        found = (windows.counts >= MIN_SAMPLES) & (windows.spans() >= window // 2)
        if not found.any():
            return found
        least = sign * math.log1p(sign * self.by.value) if self.by.is_share else self.by.value
        # What rounding may hide
        least -= ROUNDING * max(1.0, abs(least))
        if least > 0:
            # No window spans more
            found &= windows.can_gain(sign, least / window)
        return found & windows.can_move(sign, self.p_value) if found.any() else found

    def said(self) -> Any:
        """by, within, and p where it is not the usual one."""
        said = {"by": self.by.said(), "within": self.within.said()}
        return said if self.p_value == P_VALUE else {**said, "p": self.p_value}

    def said_clear(self) -> dict[str, Any]:
        """Nothing: it is clear when the trend is over."""
        return {}


def trend_of(
    steps: StepArray, values: FloatArray, least_span: int, *, in_logs: bool, fewest: int = MIN_SAMPLES
) -> Trend | None:
    """The trend of values [k] or their logarithms, None with too few, or over less than `least_span`."""
    if in_logs:
        positive = values > 0
        steps, values = steps[positive], np.log(values[positive])
    if len(values) < fewest or steps[-1] - steps[0] < least_span:
        return None
    return trend(steps, values)


def read_window(section: Section, key: str, fewest: int) -> Duration | None:
    """A window that can hold the samples which its test needs; notes one that cannot, or is missing."""
    window = section.duration(key)
    if window is None:
        if not section.has(key):
            section.add(
                section.place, f"{section.what} lacks {key}: say over how many steps, such as 200 steps"
            )
        return None
    if window.unit == "steps" and window.amount < fewest:
        section.add(
            section.place,
            f"{key} of {section.what} is {window.said()}, which is impossible: it needs {fewest} samples",
        )
        return None
    return window


def read_p_value(section: Section) -> float:
    """The significance asked for."""
    p_value = section.number("p")
    if p_value is None:
        return P_VALUE
    if not 0 < p_value <= 0.5:
        section.add(section.place, f"p of {section.what} must be over 0 and at most 0.5; given {p_value:g}")
    return p_value


def read_movement(key: str, when: Section, clear: Section | None) -> Movement | None:
    """Reads `rises` or `falls`, notes what is wrong with it."""
    section = when.section(key, f"{key} of {when.what}")
    if section is None:
        return None
    by, within, p_value = (
        section.amount("by"),
        read_window(section, "within", MIN_SAMPLES),
        read_p_value(section),
    )
    section.finish()
    if by is None:
        if not section.has("by"):
            section.add(section.place, f"{section.what} lacks by: say how much, such as 20% or 0.5")
        return None
    if by.value < 0 or (key == "falls" and by.is_share and by.value >= 1):
        section.add(section.place, f"by of {section.what} is {by.said()}: give how far it {key}, 0 or more")
    return None if within is None else Movement(key, by, within, p_value)

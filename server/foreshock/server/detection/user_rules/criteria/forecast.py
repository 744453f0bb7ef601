"""`eta: {above: 1e4, within: 300 steps, over: 100 steps}`: at its pace it passes a threshold soon."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from foreshock.server.detection.context import RunContext
from foreshock.server.detection.rising import p_words
from foreshock.server.detection.sample import BoolArray, FloatArray
from foreshock.server.detection.trend import ROUNDING
from foreshock.server.detection.user_rules.criteria.movement import (
    MIN_SAMPLES,
    read_p_value,
    read_window,
    trend_of,
)
from foreshock.server.detection.user_rules.criterion import Finding, Sight, judged
from foreshock.server.detection.user_rules.due import DueWindows, newest_third
from foreshock.server.detection.user_rules.duration import Duration
from foreshock.server.detection.user_rules.section import Section
from foreshock.server.detection.user_rules.window import Memory
from foreshock.wire.signal import Reduction


@dataclass(frozen=True, slots=True)
class Forecast:
    """Holds while the trend over `over`, drawn on, passes the threshold within `within`.

    The trend must be significant, and its slower half counts: of the whole window's pace and that of
    its newest third the slower one. In logarithms where values and threshold are positive. Tested twenty
    times a window, from when half a window has been seen.
    """

    key: ClassVar[str] = "eta"
    side: str
    threshold: float
    within: Duration
    over: Duration
    p_value: float

    @property
    def worst(self) -> Reduction:
        """The layer nearest to the threshold."""
        return "max" if self.side == "above" else "min"

    def window_steps(self, context: RunContext) -> int:
        """The window of the trend."""
        return self.over.steps(context)

    def judge(self, sight: Sight, memory: Memory) -> Finding | None:
        """Tests the window and draws its trend on."""
        window = self.window_steps(sight.moment.context)
        if sight.value is None or not math.isfinite(sight.value):
            return None
        if not memory.is_due(sight.step, sight.value, window):
            return None
        return self._extrapolate(sight, sight.value, memory, window)

    def _extrapolate(self, sight: Sight, value: float, memory: Memory, window: int) -> Finding | None:
        steps, values = memory.since(sight.moment.since_schedule(window))
        in_logs = bool(self.threshold > 0 and value > 0 and (values > 0).all())
        found = trend_of(steps, values, window // 2, in_logs=in_logs)
        if found is None:
            return None
        sign = 1 if self.side == "above" else -1
        p_value = found.p_rising if sign > 0 else found.p_falling
        slope = sign * found.slope
        third = len(values) - newest_third(len(values))
        recent = trend_of(steps[third:], values[third:], 1, in_logs=in_logs, fewest=3)
        if recent is not None:
            slope = min(slope, sign * recent.slope)
        gap = sign * (math.log(self.threshold / value) if in_logs else self.threshold - value)
        left = 0.0 if gap <= 0 else gap / slope if slope > 0 else math.inf
        if p_value >= self.p_value and gap > 0:
            left = math.inf
        holds = left <= self.within.steps(sight.moment.context)

        def words() -> str:
            if not holds:
                return f"is {value:.4g} and no longer heads for {self.threshold:g}."
            if gap <= 0:
                return f"is {value:.4g}, {self.side} {self.threshold:g} already."
            return (
                f"is {value:.4g}; its trend over {found.span_steps} steps (p {p_words(p_value)}) passes "
                f"{self.threshold:g} in some {left:.0f} steps, near step {sight.step + left:.0f}."
            )

        return Finding(judged(holds, not holds), words, left if math.isfinite(left) else None)

    def can_hold(self, windows: DueWindows, values: FloatArray, context: RunContext) -> BoolArray:
        """Where the threshold is passed already, or the trend and its newest third may get there in time.

        windows [D], and values [D] of the steps that are due. Cheap, and never false where it holds.
        """
        found = (windows.counts >= MIN_SAMPLES) & (windows.spans() >= self.window_steps(context) // 2)
        if not found.any():
            return found
        in_logs = found & (self.threshold > 0) & (values > 0) & windows.are_positive()
        if in_logs.any():
            threshold = np.full(len(values), math.log(self.threshold))
            logs = np.log(values, where=in_logs, out=np.full(len(values), math.nan))
            found[in_logs] = self._can_reach(windows.logarithms(), threshold - logs, in_logs, context)
        plain = found & ~in_logs
        if plain.any():
            found[plain] = self._can_reach(windows, self.threshold - values, plain, context)
        return found

    def _can_reach(
        self, windows: DueWindows, gaps: FloatArray, wanted: BoolArray, context: RunContext
    ) -> BoolArray:
        """For the wanted windows: gaps [D] to the threshold that their pace may close in time."""
        chosen, sign = windows.part(wanted), 1 if self.side == "above" else -1
        left = sign * gaps[wanted]
        # What rounding may hide
        pace = (left - ROUNDING * np.maximum(1.0, np.abs(left))) / self.within.steps(context)
        found = pace <= 0
        if not found.all():
            found |= chosen.can_move(sign, self.p_value) & chosen.ends_fast(sign, pace)
        return found

    def said(self) -> Any:
        """The threshold, within, over and p."""
        return {
            self.side: self.threshold,
            "within": self.within.said(),
            "over": self.over.said(),
            "p": self.p_value,
        }

    def said_clear(self) -> dict[str, Any]:
        """Nothing: it is clear when it no longer heads there."""
        return {}


def read_forecast(key: str, when: Section, clear: Section | None) -> Forecast | None:
    """Reads `eta`, notes what is wrong with it."""
    section = when.section(key, f"{key} of {when.what}")
    if section is None:
        return None
    above, below = section.number("above"), section.number("below")
    within, over = read_window(section, "within", 1), read_window(section, "over", MIN_SAMPLES)
    p_value = read_p_value(section)
    section.finish()
    if section.has("above") == section.has("below"):
        section.add(section.place, f"{section.what} needs one of above and below: the threshold it heads for")
        return None
    threshold = below if above is None else above
    if threshold is None or within is None or over is None:
        return None
    return Forecast("below" if above is None else "above", threshold, within, over, p_value)

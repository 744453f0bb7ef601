"""The residual stream runs out of its dtype's range: an event forecast, in steps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import msgspec
import numpy as np

from foreshock.server.detection.circumstances import stream_range, unreversed
from foreshock.server.detection.measures import Measure, worst_layer
from foreshock.server.detection.rising import TrendTest, p_words
from foreshock.server.detection.rule import SILENT, Condition, Grounds, Moment, Verdict
from foreshock.server.detection.sample import BoolArray
from foreshock.server.detection.stretch import Stretch
from foreshock.server.detection.trend import Trend, trend
from foreshock.wire.messages import Claim, Severity

ADVICE = (
    "Act before it overflows: keep a checkpoint now, lower the learning rate or run the residual stream "
    "in bf16 or fp32. An overflow turns the loss to NaN in one step, without any warning in the loss."
)


class HeadroomState(msgspec.Struct, frozen=True):
    """The next step at which the trend is worth another test."""

    next_test_step: int = -1


@dataclass(frozen=True, slots=True)
class HeadroomRunningOut:
    """Fires while the largest activation heads for the end of the dtype's range.

    gate_bits: with more doublings left than this there is nothing to extrapolate.
    clear_bits: with more than this the alert resolves (hysteresis).
    keep_bits: with fewer than this it stays, even where they run out no longer: one jump would do.
    clear_steps: how long all must be well again.
    horizon_steps: fires where the trend, drawn on, reaches overflow within so many steps of the run.
    critical_steps: and is critical within so many.
    hold_steps: how long it must last.
    shortest_steps: the shortest window in which the trend is looked for.
    test: what counts as falling headroom; `min_change` is the rise of the largest activation.
    """

    name: ClassVar[str] = "headroom_running_out"
    claim: ClassVar[Claim] = "event"
    gate_bits: float = 8.0
    clear_bits: float = 9.0
    keep_bits: float = 4.0
    clear_steps: int = 20
    horizon_steps: int = 300
    critical_steps: int = 20
    hold_steps: int = 3
    shortest_steps: int = 12
    test: TrendTest = field(default_factory=lambda: TrendTest(window_steps=50, min_change=0.5))

    @property
    def state_type(self) -> type[HeadroomState]:
        """The state's class."""
        return HeadroomState

    def update(self, moment: Moment, state: HeadroomState) -> tuple[HeadroomState, Sequence[Verdict]]:
        """Extrapolates once the level gate is passed."""
        bits = float(moment.now[Measure.HEADROOM_BITS])
        if not math.isfinite(bits):
            return state, SILENT
        if bits > self.gate_bits:
            condition = Condition.CLEAR if bits > self.clear_bits else Condition.BETWEEN
            return state, (self._verdict(moment, condition, bits, None, math.inf),)
        if moment.step < state.next_test_step:
            return state, SILENT
        found = self.test.fall(moment, Measure.HEADROOM_BITS, self.shortest_steps, in_logs=False)
        state = HeadroomState(moment.step + (1 if found else 3))
        left = math.inf if found is None else self._steps_left(moment, bits, found)
        if left > self._horizon(moment):
            condition = Condition.CLEAR if bits > self.keep_bits else Condition.BETWEEN
            return state, (self._verdict(moment, condition, bits, None, math.inf),)
        return state, (self._verdict(moment, Condition.HOLDS, bits, found, left),)

    def loud(self, stretch: Stretch, state: HeadroomState, is_open: bool, start: int) -> BoolArray:
        """Past the gate where the next test is due; before it while an alert is open."""
        bits = stretch.now[Measure.HEADROOM_BITS, start:]
        is_due = stretch.block.steps[start:] >= state.next_test_step
        return np.isfinite(bits) & np.where(bits > self.gate_bits, is_open, is_due)

    def _horizon(self, moment: Moment) -> float:
        """An overflow after the run's last step is none."""
        total = moment.context.total_steps
        return self.horizon_steps if total is None else min(self.horizon_steps, total - moment.step)

    def _steps_left(self, moment: Moment, bits: float, found: Trend) -> float:
        """By the slower of the whole window's pace and the newest third's: growth that levels off is none."""
        recent = max(self.shortest_steps, found.span_steps // 3)
        steps, values = moment.history.since(Measure.HEADROOM_BITS, moment.step - recent)
        slope = max(found.slope, trend(steps, values).slope if len(steps) > 2 else found.slope)
        return max(bits, 0.0) / -slope if slope < 0 else math.inf

    def _verdict(
        self, moment: Moment, condition: Condition, bits: float, found: Trend | None, left: float
    ) -> Verdict:
        severity: Severity = "critical" if left <= self.critical_steps else "warning"
        return Verdict(
            condition,
            severity,
            left if math.isfinite(left) else None,
            lambda: self._reason(moment, condition, bits, found, left),
            ADVICE,
            subject="stream",
            hold_steps=self.hold_steps,
            clear_steps=self.clear_steps,
            lapse_steps=10,
            grounds=_grounds(moment, left),
        )

    def _reason(
        self, moment: Moment, condition: Condition, bits: float, found: Trend | None, left: float
    ) -> str:
        if condition is not Condition.HOLDS or found is None:
            return f"{bits:.1f} doublings are left before overflow, and they no longer run out."
        largest = moment.sample.layers("stream_max")
        where = ""
        if len(largest):
            layer = worst_layer(largest)
            where = f" (largest activation {largest[layer]:.4g}, at layer {layer})"
        return (
            f"{bits:.1f} doublings are left before the residual stream passes {stream_range(moment)}{where}. "
            f"It has used up {-found.change:.1f} over the last {found.span_steps} steps "
            f"(p {p_words(found.p_falling)}); at this rate overflow comes in some {left:.0f} "
            f"steps, near step {moment.step + left:.0f}. "
            f"{unreversed(moment, found.first_step)}"
        )


def _grounds(moment: Moment, left: float) -> Grounds:
    largest = moment.sample.layers("stream_max")
    layer = worst_layer(largest) if len(largest) else None
    return Grounds("headroom_bits", layer, eta_steps=left if math.isfinite(left) else None)

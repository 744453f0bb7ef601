"""Investigate: the signal vanishes on its way through the network, which Amax cannot see."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from foreshock.server.detection.measures import Measure, worst_layer
from foreshock.server.detection.rule import SILENT, Condition, Grounds, Moment, Stateless, Verdict
from foreshock.server.detection.sample import BoolArray
from foreshock.server.detection.stretch import Stretch
from foreshock.wire.messages import Claim

ADVICE = (
    "Investigate the layers named: mixing matrices whose sums shrink, or a residual path whose scale "
    "falls with depth, starve the layers behind them of signal and gradient."
)


@dataclass(frozen=True, slots=True)
class Vanishing:
    """Fires while a composite's smallest sum, or the stream's RMS over depth, is close to nothing.

    threshold: smallest composite row or column sum (mean over tokens), or last layer's stream RMS
    over the first's.
    clear_threshold: over this the alert resolves (hysteresis).
    hold_steps: how long it must last.
    """

    name: ClassVar[str] = "vanishing"
    claim: ClassVar[Claim] = "rule"
    threshold: float = 0.1
    clear_threshold: float = 0.15
    hold_steps: int = 10

    @property
    def state_type(self) -> type[Stateless]:
        """The state's class."""
        return Stateless

    def update(self, moment: Moment, state: Stateless) -> tuple[Stateless, Sequence[Verdict]]:
        """Judges each of the two where the step has it."""
        verdicts = []
        for measure, subject in ((Measure.SMALLEST_SUM, "composite"), (Measure.STREAM_RMS_RATIO, "stream")):
            value = float(moment.now[measure])
            if not math.isnan(value):
                verdicts.append(self._verdict(moment, measure, subject, value))
        return state, tuple(verdicts) or SILENT

    def loud(self, stretch: Stretch, state: Stateless, is_open: bool, start: int) -> BoolArray:
        """Where either is under the threshold, and all steps while an alert is open."""
        if is_open:
            return stretch.every()[start:]
        now = stretch.now[[Measure.SMALLEST_SUM, Measure.STREAM_RMS_RATIO], start:]
        loud: BoolArray = np.logical_or.reduce(now < self.threshold)
        return loud

    def _verdict(self, moment: Moment, measure: Measure, subject: str, value: float) -> Verdict:
        condition = Condition.BETWEEN
        if value < self.threshold:
            condition = Condition.HOLDS
        elif value >= self.clear_threshold:
            condition = Condition.CLEAR
        return Verdict(
            condition,
            "warning",
            value,
            lambda: self._reason(moment, measure, value),
            ADVICE,
            subject=subject,
            hold_steps=self.hold_steps,
            clear_steps=self.hold_steps,
            grounds=_grounds(moment, measure),
        )

    def _reason(self, moment: Moment, measure: Measure, value: float) -> str:
        is_gone = value < self.threshold
        bound = f"under {self.threshold:g}" if is_gone else f"no longer under {self.threshold:g}"
        if measure is Measure.STREAM_RMS_RATIO:
            rms = moment.sample.layers("stream_rms")
            return (
                f"The residual stream's RMS goes from {rms[0]:.3g} at layer 0 to {rms[-1]:.3g} at layer "
                f"{len(rms) - 1}: a ratio of {value:.3g}, {bound}."
            )
        sums = moment.sample.layers("composite_smallest_sum_mean")
        return (
            f"The smallest row or column sum of the composite up to layer {worst_layer(sums, lowest=True)} "
            f"is {value:.3g} (mean over tokens), {bound}"
            f"{': no more of the signal is left.' if is_gone else '.'}"
        )


def _grounds(moment: Moment, measure: Measure) -> Grounds:
    if measure is Measure.STREAM_RMS_RATIO:
        return Grounds("stream_rms", len(moment.sample.layers("stream_rms")) - 1)
    sums = moment.sample.layers("composite_smallest_sum_mean")
    return Grounds("composite_smallest_sum_mean", worst_layer(sums, lowest=True))

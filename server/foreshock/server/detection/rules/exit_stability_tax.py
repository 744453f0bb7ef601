"""Exit: stability needs ever stronger clipping or normalisation while the loss no longer improves.

A residual stream before normalisations is free in its scale: its RMS grows in most healthy runs, over
plateaus of their loss too (in 35 of 79 healthy recorded runs). So what normalisation undoes is told, and is
a page only once the loss rises with it; clipping ever harder for nothing is a page at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import msgspec
import numpy as np

from foreshock.server.detection.circumstances import schedule_words
from foreshock.server.detection.measures import Measure, worst_layer
from foreshock.server.detection.rising import TrendTest, per_step
from foreshock.server.detection.rule import NO_GROUNDS, SILENT, Condition, Grounds, Moment, Patience, Verdict
from foreshock.server.detection.sample import BoolArray
from foreshock.server.detection.stretch import Stretch
from foreshock.wire.messages import Claim, Severity

ADVICE = (
    "Exit: the run pays ever more for staying upright and gets nothing for it. Lower the learning "
    "rate or go back to a checkpoint from before the tax rose; clipping harder only hides it."
)


class StabilityTaxState(msgspec.Struct, frozen=True):
    """The next step at which the trends are worth another test."""

    next_test_step: int = -1


@dataclass(frozen=True, slots=True)
class Tax:
    """What is paid ever more of, in words, with its number, the signal that it is of, and how grave it is
    while the loss stands still."""

    words: str
    value: float
    grounds: Grounds
    severity: Severity = "critical"


@dataclass(frozen=True, slots=True)
class ExitStabilityTax:
    """Fires while clipping or normalisation does ever more and the loss no longer falls for it.

    least_clip_coefficient: clipping counts only where it leaves less than this of the gradient.
    clipped_share_rise: by how much the share of clipped steps rises from the first to the second half.
    loss_min_fall: a significant fall of the loss by this share over the window is an improvement.
    loss_min_rise: a significant rise by this share is a loss of ground.
    patience: how long it must last; a logged schedule change starts it anew.
    test: what counts as a trend, of the clip coefficient (falling) and the stream's RMS (rising).
    """

    name: ClassVar[str] = "exit_stability_tax"
    claim: ClassVar[Claim] = "rule"
    least_clip_coefficient: float = 0.5
    clipped_share_rise: float = 0.5
    loss_min_fall: float = 0.01
    loss_min_rise: float = 0.03
    patience: Patience = field(default_factory=Patience)
    test: TrendTest = field(default_factory=lambda: TrendTest(min_samples=40, min_change=0.5))

    @property
    def state_type(self) -> type[StabilityTaxState]:
        """The state's class."""
        return StabilityTaxState

    def update(self, moment: Moment, state: StabilityTaxState) -> tuple[StabilityTaxState, Sequence[Verdict]]:
        """Tests some five times a patience, at most every five steps: the tax is slow."""
        if moment.step < state.next_test_step:
            return state, SILENT
        patience = self.patience.steps(moment.context)
        state = StabilityTaxState(moment.step + max(5, patience // 5))
        tax = self._clipping(moment) or self._share(moment) or self._normalisation(moment)
        change = None if tax is None else self._loss_change(moment)
        return state, (self._verdict(moment, tax, change, patience),)

    def loud(self, stretch: Stretch, state: StabilityTaxState, is_open: bool, start: int) -> BoolArray:
        """Where the next test is due."""
        return stretch.block.steps[start:] >= state.next_test_step

    def _verdict(self, moment: Moment, tax: Tax | None, change: float | None, patience: int) -> Verdict:
        schedule = moment.schedule
        # Without enough of the loss the rule keeps silent
        improves = change is None or change < 0

        def say() -> str:
            if tax is None:
                return "Neither clipping nor normalisation does ever more any longer."
            if improves:
                return f"{tax.words} The loss falls again for it."
            loss = (
                f"The loss has risen by {math.expm1(change or 0.0):.1%} meanwhile."
                if change
                else f"The loss has not improved by {self.loss_min_fall:.0%} over the last "
                f"{self.test.window_steps} steps for it."
            )
            return f"{tax.words} {loss} {schedule_words(moment)}"

        return Verdict(
            Condition.HOLDS if tax is not None and not improves else Condition.CLEAR,
            "critical" if tax is None or change else tax.severity,
            None if tax is None else tax.value,
            say,
            ADVICE,
            subject="tax",
            hold_steps=patience,
            clear_steps=patience,
            patience_from=None if schedule is None else schedule.step,
            grounds=NO_GROUNDS if tax is None else tax.grounds,
        )

    def _clipping(self, moment: Moment) -> Tax | None:
        level = moment.history.latest(Measure.CLIP_COEFFICIENT, moment.step - self.test.window_steps)
        if math.isnan(level) or level >= self.least_clip_coefficient:
            return None
        found = self.test.fall(moment, Measure.CLIP_COEFFICIENT, self.test.window_steps)
        if found is None:
            return None
        words = f"Clipping leaves {level:.3g} of the gradient and ever less: {per_step(found)}."
        return Tax(words, level, Grounds("clip_coefficient"))

    def _share(self, moment: Moment) -> Tax | None:
        first = moment.since_schedule(self.test.window_steps)
        values = moment.history.since(Measure.CLIP_COEFFICIENT, first)[1]
        half = len(values) // 2
        if 2 * half < self.test.min_samples:
            return None
        clipped = values < 1
        early = np.count_nonzero(clipped[:half]) / half
        late = np.count_nonzero(clipped[half:]) / (len(values) - half)
        if late - early < self.clipped_share_rise or values[half:].mean() >= self.least_clip_coefficient:
            return None
        words = (
            f"The share of clipped steps has risen from {early:.0%} to {late:.0%} "
            f"between the halves of the last {len(values)} samples."
        )
        return Tax(words, late, Grounds("clip_coefficient"))

    def _normalisation(self, moment: Moment) -> Tax | None:
        found = self.test.rise(moment, Measure.STREAM_RMS, self.test.window_steps)
        if found is None:
            return None
        level = moment.history.latest(Measure.STREAM_RMS, 0)
        words = (
            f"Normalisation has ever more to undo: the residual stream's largest RMS is {level:.3g}, "
            f"{per_step(found)}."
        )
        rms = moment.sample.layers("stream_rms")
        layer = worst_layer(rms) if len(rms) else None
        return Tax(words, level, Grounds("stream_rms", layer), "info")

    def _loss_change(self, moment: Moment) -> float | None:
        """The loss's change as a logarithm, 0 where it stands still, None with too little of it."""
        found = self.test.look(moment, Measure.LOSS)
        if found is None:
            return None
        if found.p_falling < 0.05 and -found.change >= self.loss_min_fall:
            return found.change
        return found.change if found.p_rising < 0.05 and found.change >= self.loss_min_rise else 0.0

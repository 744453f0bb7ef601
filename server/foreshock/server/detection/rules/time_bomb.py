"""Investigate: the loss still converges while the composite gain rises. The loss will not warn."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import msgspec
import numpy as np

from foreshock.server.detection.circumstances import (
    COMPOSITES,
    NO_LAYERS,
    overflow_steps,
    overflow_words,
    schedule_words,
    tells_composites,
    unreversed,
    worst_composites,
)
from foreshock.server.detection.measures import Measure
from foreshock.server.detection.rising import TrendTest, doubling, per_step
from foreshock.server.detection.rule import NO_GROUNDS, SILENT, Condition, Grounds, Moment, Patience, Verdict
from foreshock.server.detection.sample import BoolArray
from foreshock.server.detection.stretch import Stretch
from foreshock.wire.messages import Claim

ADVICE = (
    "Investigate now, while the loss is healthy: look at the layer map for the layers that grow, "
    "compare the gain with the headroom of the residual stream's dtype, and keep a checkpoint."
)
GAINS = (Measure.LOG_COMPOSITE_FORWARD, Measure.LOG_COMPOSITE_BACKWARD)


class TimeBombState(msgspec.Struct, frozen=True):
    """The next step at which the trends are worth another test, and the worst composites' layers."""

    next_test_step: int = -1
    layers: tuple[int, int] = NO_LAYERS


@dataclass(frozen=True, slots=True)
class TimeBomb:
    """Fires while the loss falls and the worst composite amax rises past what mHC ever shows.

    threshold: composite gain, mean over tokens, the worse of both directions.
    clear_threshold: under this the alert resolves.
    loss_min_fall: share by which the loss must fall over the window to be converging.
    patience: how long it must last; a logged schedule change starts it anew.
    test: what counts as rising.
    """

    name: ClassVar[str] = "time_bomb"
    claim: ClassVar[Claim] = "structural"
    threshold: float = 2.0
    clear_threshold: float = 1.6
    loss_min_fall: float = 0.01
    patience: Patience = field(default_factory=Patience)
    test: TrendTest = field(default_factory=lambda: TrendTest(min_change=0.2))

    @property
    def state_type(self) -> type[TimeBombState]:
        """The state's class."""
        return TimeBombState

    def update(self, moment: Moment, state: TimeBombState) -> tuple[TimeBombState, Sequence[Verdict]]:
        """Tests gain and loss once the level gate is passed."""
        since = moment.step - self.test.window_steps
        levels = {one: moment.history.latest(one, since) for one in GAINS}
        known = {one: level for one, level in levels.items() if not math.isnan(level)}
        if not known:
            return state, SILENT
        worst = max(known, key=known.__getitem__)
        level = known[worst]
        if level <= math.log(self.threshold):
            below = level < math.log(self.clear_threshold)
            condition = Condition.CLEAR if below else Condition.BETWEEN
            say = f"The composite gain is back at {math.exp(level):.3g}." if below else ""
            return state, (self._verdict(moment, condition, level, say),)
        layers = worst_composites(moment.sample, state.layers)
        if moment.step < state.next_test_step:
            is_new = layers != state.layers
            return msgspec.structs.replace(state, layers=layers) if is_new else state, SILENT
        state = TimeBombState(moment.step + max(1, self.patience.steps(moment.context) // 5), layers)
        return state, (self._judge(moment, worst, level, layers),)

    def loud(self, stretch: Stretch, state: TimeBombState, is_open: bool, start: int) -> BoolArray:
        """Over the threshold where the next test is due or composites come; under it while one is open."""
        level = np.fmax.reduce([stretch.latest(one, self.test.window_steps)[start:] for one in GAINS])
        is_due = stretch.block.steps[start:] >= state.next_test_step
        is_worth = is_due | tells_composites(stretch)[start:]
        return np.where(level > math.log(self.threshold), is_worth, is_open & ~np.isnan(level))

    def _judge(self, moment: Moment, one: Measure, level: float, layers: tuple[int, int]) -> Verdict:
        gain = self.test.rise(moment, one, 2 * self.patience.steps(moment.context))
        if gain is None:
            words = (
                f"The composite gain is {math.exp(level):.3g}; its rise is no longer significant over the "
                f"last {self.test.window_steps} steps."
            )
            return self._verdict(moment, Condition.BETWEEN, level, words)
        loss = self.test.look(moment, Measure.LOSS)
        if loss is None or loss.p_falling >= self.test.p_value or -loss.change < self.loss_min_fall:
            words = f"The composite gain is {math.exp(level):.3g}; the loss no longer converges."
            return self._verdict(moment, Condition.BETWEEN, level, words)
        way = 0 if one is Measure.LOG_COMPOSITE_FORWARD else 1
        direction = ("forward", "backward")[way]
        where = "" if layers[way] < 0 else f" (worst at layer {layers[way]})"
        before, after = self.test.ends(moment, Measure.LOSS)
        told = (
            f"The loss still converges (from {before:.4g} to {after:.4g}, medians of the first and last "
            f"quarter of {loss.span_steps} steps, {1 - after / before:.0%} down) while the composite amax "
            f"{direction}{where} has reached {math.exp(level):.3g}, {per_step(gain)}, {doubling(gain)}: the "
            "loss cannot warn of it."
        )
        grounds = Grounds(
            COMPOSITES[way],
            None if layers[way] < 0 else layers[way],
            eta_steps=overflow_steps(moment, gain.first_step),
        )

        def say() -> str:
            seen = f"{unreversed(moment, gain.first_step)} {schedule_words(moment)}"
            return f"{told}{overflow_words(moment, gain.first_step)} {seen}"

        return self._verdict(moment, Condition.HOLDS, level, say, grounds)

    def _verdict(
        self,
        moment: Moment,
        condition: Condition,
        level: float,
        say: str | Callable[[], str],
        grounds: Grounds = NO_GROUNDS,
    ) -> Verdict:
        patience = self.patience.steps(moment.context)
        return Verdict(
            condition,
            "warning",
            math.exp(min(level, 700.0)),
            say if callable(say) else lambda: say,
            ADVICE,
            subject="composite",
            hold_steps=patience,
            clear_steps=patience,
            lapse_steps=patience,
            patience_from=None if moment.schedule is None else moment.schedule.step,
            grounds=grounds,
        )

"""Exit: Amax keeps rising past the threshold, unexplained and not reversed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import msgspec
import numpy as np

from foreshock.server.detection.circumstances import (
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
from foreshock.server.detection.trend import Trend
from foreshock.wire.messages import Claim

ADVICE = (
    "Exit: keep the last checkpoint from before the rise and stop, or lower the learning rate. If it "
    "rises again from there, constrain the mixing matrices (doubly stochastic, mHC) and restart."
)
CANDIDATES = (Measure.CANARY_GAIN, Measure.LOG_COMPOSITE_FORWARD, Measure.LOG_COMPOSITE_BACKWARD)
_SERIES = {
    Measure.LOG_COMPOSITE_FORWARD: ("composite_amax_forward_mean", "forward"),
    Measure.LOG_COMPOSITE_BACKWARD: ("composite_amax_backward_mean", "backward"),
}


class ExitAmaxState(msgspec.Struct, frozen=True):
    """The next step at which the trend is worth another test, and the worst composites' layers."""

    next_test_step: int = -1
    layers: tuple[int, int] = NO_LAYERS


@dataclass(frozen=True, slots=True)
class ExitAmax:
    """Fires while layer 0's gain, or the worst composite, is over the threshold and rising.

    threshold: gain, mean over tokens, the worse of both directions.
    clear_threshold: under this the alert resolves (hysteresis).
    patience: how long it must last unreversed; a logged schedule change starts it anew.
    test: what counts as rising.
    """

    name: ClassVar[str] = "exit_amax"
    claim: ClassVar[Claim] = "rule"
    threshold: float = 10.0
    clear_threshold: float = 8.0
    patience: Patience = field(default_factory=Patience)
    test: TrendTest = field(default_factory=TrendTest)

    @property
    def state_type(self) -> type[ExitAmaxState]:
        """The state's class."""
        return ExitAmaxState

    def update(self, moment: Moment, state: ExitAmaxState) -> tuple[ExitAmaxState, Sequence[Verdict]]:
        """Judges the largest of the candidates' latest values."""
        levels = {one: self._log_level(moment, one) for one in CANDIDATES}
        known = {one: level for one, level in levels.items() if not math.isnan(level)}
        if not known:
            return state, SILENT
        worst = max(known, key=known.__getitem__)
        if known[worst] <= math.log(self.threshold):
            return state, (self._verdict(moment, worst, known[worst], None, NO_LAYERS),)
        layers = worst_composites(moment.sample, state.layers)
        if layers != state.layers:
            state = msgspec.structs.replace(state, layers=layers)
        if moment.step < state.next_test_step:
            return state, SILENT
        told, found = self._look(moment, known)
        patience = self.patience.steps(moment.context)
        # A rise is tested often, so that it fires on time; a flat level now and then
        pause = patience // 20 if found else patience // 5
        state = ExitAmaxState(moment.step + max(1, pause), state.layers)
        return state, (self._verdict(moment, told, known[told], found, state.layers),)

    def loud(self, stretch: Stretch, state: ExitAmaxState, is_open: bool, start: int) -> BoolArray:
        """Over the threshold where the next test is due or composites come; under it while one is open."""
        levels = {one: stretch.latest(one, self.test.window_steps)[start:] for one in CANDIDATES}
        over = levels[Measure.CANARY_GAIN] > self.threshold
        for one in CANDIDATES[1:]:
            over |= levels[one] > math.log(self.threshold)
        is_due = stretch.block.steps[start:] >= state.next_test_step
        return np.where(over, is_due | tells_composites(stretch)[start:] | is_open, is_open)

    def _look(self, moment: Moment, levels: dict[Measure, float]) -> tuple[Measure, Trend | None]:
        """The largest candidate over the threshold that rises, or else the largest one."""
        over = sorted(
            (one for one, level in levels.items() if level > math.log(self.threshold)),
            key=levels.__getitem__,
            reverse=True,
        )
        # A rise must last about as long as the patience itself: short runs, short windows
        shortest = 2 * self.patience.steps(moment.context)
        for one in over:
            if found := self.test.rise(moment, one, shortest):
                return one, found
        return over[0], None

    def _log_level(self, moment: Moment, one: Measure) -> float:
        """The logarithm of a candidate's latest value within the window."""
        level = moment.history.latest(one, moment.step - self.test.window_steps)
        if one is not Measure.CANARY_GAIN or math.isnan(level):
            return level
        return math.log(level) if level > 0 else -math.inf

    def _verdict(
        self,
        moment: Moment,
        one: Measure,
        log_level: float,
        found: Trend | None,
        layers: tuple[int, int],
    ) -> Verdict:
        over = log_level > math.log(self.threshold)
        patience = self.patience.steps(moment.context)
        if found:
            condition = Condition.HOLDS
        elif log_level < math.log(self.clear_threshold):
            condition = Condition.CLEAR
        else:
            reversed_ = over and self.test.fall(moment, one, 2 * patience)
            condition = Condition.CLEAR if reversed_ else Condition.BETWEEN
        schedule = moment.schedule
        return Verdict(
            condition,
            "critical",
            math.exp(min(log_level, 700.0)),
            lambda: self._reason(moment, one, log_level, found, layers),
            ADVICE,
            subject="amax",
            hold_steps=patience,
            clear_steps=max(1, patience // 2),
            lapse_steps=patience,
            patience_from=None if schedule is None else schedule.step,
            grounds=_grounds(moment, one, found, layers),
        )

    def _reason(
        self,
        moment: Moment,
        one: Measure,
        log_level: float,
        found: Trend | None,
        layers: tuple[int, int],
    ) -> str:
        level = math.exp(min(log_level, 700.0))
        what = _name(one, layers)
        if log_level <= math.log(self.threshold):
            return f"{what} is {level:.3g}, back under {self.threshold:g}."
        if found is None:
            return f"{what} is {level:.3g}, over {self.threshold:g}, and no longer rises."
        return (
            f"{what} is {level:.3g}, over {self.threshold:g}, and has {per_step(found)}, "
            f"{doubling(found)}.{overflow_words(moment, found.first_step)} "
            f"{unreversed(moment, found.first_step)} {schedule_words(moment)}{_loss(moment)}"
        )


def _layer(one: Measure, layers: tuple[int, int]) -> int | None:
    """Whose gain it is; None before a composite's layers have been measured."""
    if one is Measure.CANARY_GAIN:
        return 0
    layer = layers[0] if one is Measure.LOG_COMPOSITE_FORWARD else layers[1]
    return None if layer < 0 else layer


def _grounds(moment: Moment, one: Measure, found: Trend | None, layers: tuple[int, int]) -> Grounds:
    """The threshold being passed, what is left is the way to the end of the stream's range."""
    if found is None:
        return NO_GROUNDS
    signal = "canary_gain" if one is Measure.CANARY_GAIN else _SERIES[one][0]
    return Grounds(signal, _layer(one, layers), eta_steps=overflow_steps(moment, found.first_step))


def _name(one: Measure, layers: tuple[int, int]) -> str:
    if one is Measure.CANARY_GAIN:
        return "Layer 0's own gain (amax, mean over tokens)"
    layer = _layer(one, layers)
    where = "" if layer is None else f", worst at layer {layer},"
    return f"Composite amax {_SERIES[one][1]} (mean over tokens){where}"


def _loss(moment: Moment) -> str:
    loss = moment.history.latest(Measure.LOSS, moment.step - 1)
    return "" if math.isnan(loss) else f" The loss is {loss:.4g} at this step."

"""A spike or a divergence is coming: the forecast of all signals together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from foreshock.server.detection.forecast.forecaster import LONGEST_STRIDE
from foreshock.server.detection.forecast.fusion import ALARM
from foreshock.server.detection.forecast.reasons import explain
from foreshock.server.detection.rule import SILENT, Condition, Grounds, Moment, Verdict
from foreshock.server.detection.sample import BoolArray
from foreshock.server.detection.stretch import Stretch
from foreshock.wire.messages import Claim, Severity

ADVICE = (
    "Act before the loss does: keep a checkpoint now, and lower the learning rate or clip harder. If the "
    "reasons go on rising, roll back to before they began and change what they name."
)


class SpikeAheadState(msgspec.Struct, frozen=True):
    """When it was last told of, and how sure the forecast was then; since when it has been critical, and
    the last tick at which it was."""

    told_step: int = -1
    told_logit: float = 0.0
    over_step: int = -1
    seen_step: int = -1


@dataclass(frozen=True, slots=True)
class SpikeAhead:
    """Fires while the risk of a spike or divergence within a window is over what healthy runs reach.

    A forecast is for one window. After that it is told again, and critical again, only where the risk has
    grown by `again_margin`: a run that cries wolf is heard once.

    warning_margin: by how much less than the critical logit a warning fires.
    clear_margin: by how much less than a warning's the alert resolves (hysteresis).
    again_margin: by how much the logit must have grown to be told again.
    hold_steps: how long it must last.
    clear_share: how long all must be well again, in windows.
    """

    name: ClassVar[str] = "spike_ahead"
    claim: ClassVar[Claim] = "event"
    warning_margin: float = 0.7
    clear_margin: float = 1.0
    again_margin: float = 1.2
    hold_steps: int = 2
    clear_share: float = 0.2

    @property
    def state_type(self) -> type[SpikeAheadState]:
        """The state's class."""
        return SpikeAheadState

    @property
    def lapse_steps(self) -> int:
        """How long a tick counts: until the next must have come."""
        return self.hold_steps + LONGEST_STRIDE

    def update(self, moment: Moment, state: SpikeAheadState) -> tuple[SpikeAheadState, Sequence[Verdict]]:
        """Judges a tick of the forecast."""
        outlook = moment.outlook
        sight = None if outlook is None else outlook.at(moment.row)
        if outlook is None or sight is None:
            return state, SILENT
        logit, critical = float(sight.logits[ALARM]), outlook.model.alarm
        told = state.told_step >= 0
        if logit >= critical:
            goes_on = state.seen_step >= 0 and moment.step - state.seen_step <= self.lapse_steps
            since = state.over_step if goes_on else moment.step
            state = msgspec.structs.replace(state, over_step=since, seen_step=moment.step)
        is_news = logit >= critical and self._is_news(state, moment.step, logit, outlook.view.window)
        if is_news:
            state = msgspec.structs.replace(state, told_step=moment.step, told_logit=logit)
        is_fresh = state.told_step >= 0 and moment.step - state.told_step <= self.lapse_steps
        severity: Severity = "critical" if is_fresh and logit >= critical else "warning"
        reasons = explain(moment, outlook, sight, ALARM)
        return state, (
            Verdict(
                self._condition(logit, critical),
                severity,
                sight.risk["10%"],
                reasons.say,
                ADVICE,
                subject="forecast",
                hold_steps=self.hold_steps,
                clear_steps=max(1, round(self.clear_share * outlook.view.window)),
                lapse_steps=self.lapse_steps,
                grounds=Grounds(reasons.signal, reasons.layer, sight.risk, reasons.eta_steps),
                again=is_news and told,
            ),
        )

    def loud(self, stretch: Stretch, state: SpikeAheadState, is_open: bool, start: int) -> BoolArray:
        """Ticks over the level of a warning, and all of them while an alert is open."""
        loud = stretch.none()
        if (outlook := stretch.outlook) is not None:
            least = outlook.model.alarm - self.warning_margin
            loud[outlook.rows[is_open | (outlook.logits[:, ALARM] >= least)]] = True
        return loud[start:]

    def _is_news(self, state: SpikeAheadState, step: int, logit: float, window: int) -> bool:
        # What is over for less is no news: it must not use up the one time that people are told
        if step - state.over_step < self.hold_steps:
            return False
        if state.told_step < 0:
            return True
        return logit >= state.told_logit + self.again_margin and step - state.told_step >= window

    def _condition(self, logit: float, critical: float) -> Condition:
        if logit >= critical - self.warning_margin:
            return Condition.HOLDS
        least = critical - self.warning_margin - self.clear_margin
        return Condition.BETWEEN if logit >= least else Condition.CLEAR

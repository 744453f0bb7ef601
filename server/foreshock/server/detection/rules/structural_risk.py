"""The run as it stands ends in divergence, sooner or later: a state of risk, while the loss is healthy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from foreshock.server.detection.forecast.forecaster import LONGEST_STRIDE
from foreshock.server.detection.forecast.fusion import STRUCTURAL
from foreshock.server.detection.forecast.reasons import explain
from foreshock.server.detection.rule import SILENT, Condition, Grounds, Moment, Stateless, Verdict
from foreshock.server.detection.sample import BoolArray
from foreshock.server.detection.stretch import Stretch
from foreshock.wire.messages import Claim

ADVICE = (
    "Nothing is lost yet. What the reasons name will not settle by itself: constrain it (normalise, clamp, "
    "clip, make the mixing doubly stochastic) or lower the peak learning rate before more is spent."
)


@dataclass(frozen=True, slots=True)
class StructuralRisk:
    """Fires while the state of a run is that of runs which diverged before they ended.

    clear_margin: by how much less than the model's logit the alert resolves (hysteresis).
    hold_share: how long it must last, in windows.
    clear_share: how long all must be well again, in windows.
    """

    name: ClassVar[str] = "structural_risk"
    claim: ClassVar[Claim] = "structural"
    clear_margin: float = 1.0
    hold_share: float = 0.02
    clear_share: float = 0.5

    @property
    def state_type(self) -> type[Stateless]:
        """The state's class."""
        return Stateless

    def update(self, moment: Moment, state: Stateless) -> tuple[Stateless, Sequence[Verdict]]:
        """Judges a tick of the forecast."""
        outlook = moment.outlook
        sight = None if outlook is None else outlook.at(moment.row)
        if outlook is None or sight is None:
            return state, SILENT
        window = outlook.view.window
        reasons = explain(moment, outlook, sight, STRUCTURAL)
        return state, (
            Verdict(
                self._condition(float(sight.logits[STRUCTURAL]), outlook.model.structural),
                "warning",
                reasons.probability,
                reasons.say,
                ADVICE,
                subject="structure",
                hold_steps=max(2, round(self.hold_share * window)),
                clear_steps=max(1, round(self.clear_share * window)),
                lapse_steps=max(LONGEST_STRIDE + 1, round(self.hold_share * window)),
                grounds=Grounds(reasons.signal, reasons.layer, sight.risk, reasons.eta_steps),
            ),
        )

    def loud(self, stretch: Stretch, state: Stateless, is_open: bool, start: int) -> BoolArray:
        """Ticks over the model's level, and all of them while an alert is open."""
        loud = stretch.none()
        if (outlook := stretch.outlook) is not None:
            least = outlook.model.structural
            loud[outlook.rows[is_open | (outlook.logits[:, STRUCTURAL] >= least)]] = True
        return loud[start:]

    def _condition(self, logit: float, least: float) -> Condition:
        if logit >= least:
            return Condition.HOLDS
        return Condition.BETWEEN if logit >= least - self.clear_margin else Condition.CLEAR

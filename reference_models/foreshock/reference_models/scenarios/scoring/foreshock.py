"""foreshock's own detector as a watcher: its alerts as a live run would raise them, and its forecast.

Shape suffixes: S steps, H horizons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from foreshock.reference_models.scenarios.scoring.watcher import Alarm, Attempt, FloatArray, IntArray, Watch
from foreshock.server.detection.block import Block
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.detector import Detector
from foreshock.server.detection.forecast.forecaster import HORIZON_NAMES, Forecaster
from foreshock.server.detection.forecast.fusion import ALARM, STRUCTURAL
from foreshock.server.detection.rule import Grounds
from foreshock.wire.messages import AlertState, Claim, Severity

LEVELS: Final = {"info": 1.0, "warning": 2.0, "critical": 3.0}
# A pending alert says less than a firing one of the same severity, and more than one of the severity below
_PENDING: Final = 0.5


class Transition(Protocol):
    """What is read of one change of one alert."""

    @property
    def step(self) -> int:
        """The step at which it changed."""

    @property
    def rule(self) -> str:
        """Whose alert it is."""

    @property
    def subject(self) -> str:
        """What it is about; a rule has one alert a subject."""

    @property
    def claim(self) -> Claim:
        """What it claims."""

    @property
    def severity(self) -> Severity:
        """How grave it is."""

    @property
    def state(self) -> AlertState:
        """What it is now."""

    @property
    def grounds(self) -> Grounds:
        """What it rests on."""


class Judge(Protocol):
    """What raises the alerts of one attempt."""

    def note_schedule(self, step: int, what: str) -> None:
        """Takes a logged schedule change, before the samples from its step on."""

    def judge(self, block: Block) -> Sequence[Transition]:
        """Judges a block of steps in rising order."""


class MakeJudge(Protocol):
    """Makes the judge of one attempt from what the run declared and a model's weights."""

    def __call__(self, context: RunContext, weights: Any) -> Judge:
        """A judge before its first step; `weights` is None for those that foreshock ships."""


class Forecast(Protocol):
    """Gives the tracks of an attempt, each step from itself and those before it alone."""

    def __call__(
        self, attempt: Attempt, blocks: Sequence[Block], weights: Any
    ) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
        """score_S, risk_SH and structural_S, as in Watch."""


def shipped_judge(context: RunContext, weights: Any) -> Judge:
    """The detector with its default rules, and the model that ships unless another is given."""
    return Detector(context, model=weights)


def shipped_forecast(
    attempt: Attempt, blocks: Sequence[Block], weights: Any
) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
    """The forecaster's logit of an alarm, its risks, and its structural logit; between ticks the last one."""
    forecaster = Forecaster(attempt.context, weights)
    tracks: list[FloatArray] = []
    last = np.full(2 + len(HORIZON_NAMES), np.nan)
    for block in blocks:
        outlook = forecaster.advance(block)
        at_ticks = np.column_stack((outlook.logits[:, ALARM], outlook.logits[:, STRUCTURAL], outlook.risks))
        known = np.vstack((last, at_ticks))
        tracks.append(known[np.searchsorted(outlook.rows, np.arange(len(block)), "right")])
        last = known[-1]
    track = np.concatenate(tracks)
    return track[:, 0], track[:, 2:], track[:, 1]


@dataclass(frozen=True, slots=True)
class Foreshock:
    """The detector that ships, or one with other weights.

    weights: of the forecaster, handed on to `make_judge` and `forecast`; None for those that ship.
    weights_by_family: those of a model that has not seen the family, for leave-one-family-out.
    forecast: where there is none, scores are the levels of the open alerts, 0 to 3 by severity.
    """

    name: str = "foreshock"
    source: str = "this project"
    weights: Any = None
    weights_by_family: Mapping[str, Any] | None = None
    make_judge: MakeJudge = shipped_judge
    forecast: Forecast | None = shipped_forecast

    @property
    def threshold(self) -> float | None:
        """None: what it publishes are its critical alerts."""
        return None

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        """Runs the detector over the steps."""
        weights = self._weights(attempt.family)
        judge = self.make_judge(attempt.context, weights)
        alarms = tuple(map(_alarm, _transitions(judge, attempt, blocks)))
        if self.forecast is not None:
            return Watch(*self.forecast(attempt, blocks, weights), alarms)
        steps_S = np.concatenate([block.steps for block in blocks])
        return Watch(
            _levels([alarm for alarm in alarms if alarm.claim == "event"], steps_S),
            None,
            _levels([alarm for alarm in alarms if alarm.claim != "event"], steps_S),
            alarms,
        )

    def _weights(self, family: str) -> Any:
        if self.weights_by_family is None:
            return self.weights
        return self.weights_by_family.get(family, self.weights)


def _transitions(judge: Judge, attempt: Attempt, blocks: Sequence[Block]) -> list[Transition]:
    changes = sorted(attempt.changes, key=lambda change: change.step)
    transitions: list[Transition] = []
    for block in blocks:
        start = 0
        while changes and changes[0].step <= int(block.steps[-1]):
            change = changes.pop(0)
            end = int(np.searchsorted(block.steps, change.step))
            transitions += judge.judge(block.part(start, end))
            judge.note_schedule(change.step, change.what)
            start = end
        transitions += judge.judge(block.part(start, len(block)))
    return transitions


def _alarm(transition: Transition) -> Alarm:
    grounds = transition.grounds
    return Alarm(
        transition.step,
        transition.rule,
        transition.subject,
        transition.claim,
        transition.severity,
        transition.state,
        grounds.signal,
        grounds.layer,
    )


def _levels(alarms: Sequence[Alarm], steps_S: IntArray) -> FloatArray:
    """At each step the highest level of the alerts that are open."""
    level_S = np.zeros(len(steps_S))
    open_since: dict[tuple[str, str], tuple[int, float]] = {}
    for alarm in alarms:
        key, row = (alarm.rule, alarm.subject), int(np.searchsorted(steps_S, alarm.step))
        if key in open_since:
            since, level = open_since.pop(key)
            level_S[since:row] = np.maximum(level_S[since:row], level)
        if alarm.state != "resolved":
            open_since[key] = row, LEVELS[alarm.severity] - _PENDING * (alarm.state == "pending")
    for since, level in open_since.values():
        level_S[since:] = np.maximum(level_S[since:], level)
    return level_S

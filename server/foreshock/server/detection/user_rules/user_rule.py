"""A rule of the user's own, as its file defines it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from foreshock.server.detection.context import IndexArray
from foreshock.server.detection.rule import SILENT, Condition, Grounds, Moment, Verdict
from foreshock.server.detection.sample import BoolArray, FloatArray
from foreshock.server.detection.stretch import Stretch
from foreshock.server.detection.user_rules.criteria.forecast import Forecast
from foreshock.server.detection.user_rules.criteria.level import Level
from foreshock.server.detection.user_rules.criteria.movement import Movement
from foreshock.server.detection.user_rules.criteria.nonfinite import NonfiniteValue
from foreshock.server.detection.user_rules.criterion import Criterion, Finding, Sight
from foreshock.server.detection.user_rules.duration import Duration
from foreshock.server.detection.user_rules.quantity import Quantity
from foreshock.server.detection.user_rules.schedule import EVERY_STEP, Window
from foreshock.server.detection.user_rules.window import Memory
from foreshock.wire.messages import Claim, Severity

# More steps than any run has: what is counted in seconds is not there yet
NOT_YET: Final = 2**40
MAX_SUBJECT: Final = 200


@dataclass(frozen=True, slots=True)
class UserRule:
    """Fires once its criterion has held for `hold` without a break, resolves once clear for `clear`.

    name: unique among all rules.
    quantity: the number that is looked at.
    criterion: what it waits for.
    hold: how long it must hold; None fires at once.
    clear: how long it must be clear; None resolves at once.
    severity: of its alerts.
    claim: `rule`, or `structural` for a risk that is no event.
    labels: go with its alerts.
    summary: a sentence that begins every reason.
    advice: what to do.
    schedule: which steps it judges.
    inhibited_by: rules; while one of them fires, this one opens no alert and none of it fires.
    """

    name: str
    quantity: Quantity
    criterion: Criterion
    hold: Duration | None = None
    clear: Duration | None = None
    severity: Severity = "warning"
    claim: Claim = "rule"
    labels: tuple[tuple[str, str], ...] = ()
    summary: str = ""
    advice: str = ""
    schedule: Window = EVERY_STEP
    inhibited_by: tuple[str, ...] = ()

    @property
    def state_type(self) -> type[Memory]:
        """The state's class."""
        return Memory

    def update(self, moment: Moment, state: Memory) -> tuple[Memory, Sequence[Verdict]]:
        """Judges one step; the window goes on filling where the rule does not look."""
        values, layers = self.quantity.values(moment.sample)
        sight = Sight(moment, None)
        if len(values):
            sight = Sight(moment, self.quantity.reduced(values), bool(np.isfinite(values).all()))
        finding = self.criterion.judge(sight, state)
        if self.schedule.is_before(moment) or self.schedule.is_quiet(moment):
            return state, SILENT
        if self.schedule.is_over(moment):
            finding = Finding(Condition.CLEAR, lambda: "is not judged beyond this step.")
        if finding is None:
            return state, SILENT
        if self._is_timed:
            _note_times(state, finding.condition, moment.sample.time)
        return state, (self._verdict(moment, state, finding, sight, values, layers),)

    def loud(self, stretch: Stretch, state: Memory, is_open: bool, start: int) -> BoolArray:
        """Where a condition of one step may hold, and a trend that is due; every step for the others.

        While an alert is open, every step or every trend that is due.
        """
        criterion = self.criterion
        if isinstance(criterion, Movement | Forecast):
            return self._loud_trend(criterion, stretch, state, is_open, start)
        if is_open or self._is_timed or self.quantity.over is not None:
            return stretch.every()[start:]
        if not isinstance(criterion, Level | NonfiniteValue):
            return stretch.every()[start:]
        block, places = stretch.block, self.quantity.columns(stretch.block.columns)
        values, present = block.values[start:, places], block.present[start:, places]
        found: BoolArray = np.logical_or.reduce(criterion.suspects(values, present), axis=1)
        return found

    def follow(self, stretch: Stretch, state: Memory, start: int, end: int) -> None:
        """Remembers what a trend is made of, of steps at which the rule was not asked."""
        if isinstance(self.criterion, Movement | Forecast):
            rows, values = self._known(stretch, start, end)
            state.follow(stretch.block.steps[rows], values, self.criterion.window_steps(stretch.context))

    def _loud_trend(
        self, criterion: Movement | Forecast, stretch: Stretch, state: Memory, is_open: bool, start: int
    ) -> BoolArray:
        loud, steps, context = stretch.none(), stretch.block.steps, stretch.context
        rows, values = self._known(stretch, start, len(stretch))
        not_before = -1 if stretch.schedule is None else stretch.schedule.step
        due, windows = state.due(steps[rows], values, criterion.window_steps(context), not_before)
        if not (is_open or self._is_timed):
            due = due[criterion.can_hold(windows, values[due], context)]
        loud[rows[due]] = True
        end = self.schedule.end(context)
        if is_open and end is not None:
            loud |= steps >= end
        return loud[start:]

    def _known(self, stretch: Stretch, start: int, end: int) -> tuple[IndexArray, FloatArray]:
        """Of some rows of a stretch those with a finite number, and the numbers."""
        values, measured = self.quantity.numbers(stretch.block, start, end)
        known = np.flatnonzero(measured & np.isfinite(values))
        return start + known, values[known]

    @property
    def _is_timed(self) -> bool:
        return any(one is not None and one.unit == "seconds" for one in (self.hold, self.clear))

    def _verdict(
        self,
        moment: Moment,
        state: Memory,
        finding: Finding,
        sight: Sight,
        values: FloatArray,
        layers: IndexArray,
    ) -> Verdict:
        def say() -> str:
            words = f"{self.quantity.named(values, layers)} {finding.words()}"
            return f"{self.summary} {words}" if self.summary else words

        now = moment.sample.time
        layer = self.quantity.layer(values, layers) if finding.condition is Condition.HOLDS else None
        return Verdict(
            finding.condition,
            self.severity,
            None if sight.value is None or math.isnan(sight.value) else sight.value,
            say,
            self.advice or f"Look at {self.quantity.said}: the rule {self.name} gives no advice of its own.",
            subject=self.quantity.said[:MAX_SUBJECT],
            hold_steps=_steps(self.hold, moment, state.held_time, now),
            clear_steps=_steps(self.clear, moment, state.clear_time, now),
            # What lies between breaks the patience of an alert that has not fired
            lapse_steps=0,
            patience_from=self.schedule.patience_from(moment),
            grounds=Grounds(self.quantity.series, layer, eta_steps=finding.eta_steps),
        )

    def said(self) -> dict[str, Any]:
        """The rule as a rules file says it; reading that gives the same rule."""
        quantity, criterion = self.quantity, self.criterion
        said: dict[str, Any] = {"name": self.name, "signal": quantity.said}
        if quantity.layers is not None:
            said["layers"] = quantity.layers.said()
            if not (quantity.layers.is_worst or quantity.layers.is_single):
                said["reduce"] = quantity.reduce
        said["when"] = {criterion.key: criterion.said()}
        clear = criterion.said_clear() | ({} if self.clear is None else {"for": self.clear.said()})
        optional = {
            "for": None if self.hold is None else self.hold.said(),
            "clear": clear,
            "labels": dict(self.labels),
            "summary": self.summary,
            "advice": self.advice,
            "schedule": self.schedule.said(),
            "inhibited_by": list(self.inhibited_by),
        }
        said |= {key: value for key, value in optional.items() if value}
        return {**said, "severity": self.severity, "claim": self.claim}


def _note_times(state: Memory, condition: Condition, time: float) -> None:
    """Since when it has held, or been clear, by the samples' own times."""
    if condition is not Condition.HOLDS:
        state.held_time = None
    elif state.held_time is None:
        state.held_time = time
    if condition is not Condition.CLEAR:
        state.clear_time = None
    elif state.clear_time is None:
        state.clear_time = time


def _steps(duration: Duration | None, moment: Moment, since: float | None, now: float) -> int:
    """A patience in steps; one in seconds is none once they have passed, and endless before."""
    if duration is None:
        return 0
    if duration.unit != "seconds":
        return duration.steps(moment.context)
    return 0 if since is not None and now - since >= duration.amount else NOT_YET

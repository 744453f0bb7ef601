"""All rules over one run: blocks of steps in, alert transitions out, state that serialises.

The result depends on steps and values alone: not on how they were cut into blocks, and not on whether
the process was replaced between two of them. A rule that can tell from many steps at once which of
them change anything is asked for a verdict on those only; the result is that of asking at every step.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from foreshock.server.alerts import life as alert_life
from foreshock.server.alerts.life import Life, Transition
from foreshock.server.detection.block import Block
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.fast.layer import FastLayer, FastState
from foreshock.server.detection.fingerprint import fingerprint
from foreshock.server.detection.firing import Firing
from foreshock.server.detection.forecast.forecaster import Forecaster, ForecasterState
from foreshock.server.detection.forecast.fusion import Model
from foreshock.server.detection.forecast.prospect import look_ahead
from foreshock.server.detection.history import History, PackedHistory
from foreshock.server.detection.measures import measure
from foreshock.server.detection.risk import Risk
from foreshock.server.detection.rule import AnyRule, Condition, Moment, Schedule
from foreshock.server.detection.rules import default_rules
from foreshock.server.detection.selective import Following, Selective
from foreshock.server.detection.stretch import Stretch
from foreshock.server.detection.summary import Progress, note, summarise

STATE_VERSION: Final = 1
# Schedule changes closer than this are one change: a ramp must not restart patience for ever
SCHEDULE_GAP_STEPS: Final = 20
# Sets in one order, so that equal states are equal bytes
_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode


class RuleMark(msgspec.Struct, frozen=True):
    """Which definition of a rule judges, and from which step on; -1 is from before that was noted."""

    fingerprint: str
    since_step: int


class DetectorState(msgspec.Struct, frozen=True):
    """Everything that a detector remembers, as it is stored."""

    version: int
    first_step: int
    judged_step: int
    judged_time: float
    history: PackedHistory
    rules: dict[str, bytes]
    lives: list[Life]
    schedule: Schedule | None
    progress: Progress
    summary: dict[str, Any]
    marks: dict[str, RuleMark] = {}
    # None in what was stored before there was a forecaster, which then begins where it is
    forecaster: ForecasterState | None = None
    fast: FastState = FastState()


class Detector:
    """Judges one attempt of one run."""

    def __init__(
        self, context: RunContext, rules: Sequence[AnyRule] | None = None, model: Model | None = None
    ) -> None:
        """`rules` are the shipped ones, `model` the forecaster's, where none are given."""
        self.context = context
        self._history = History()
        self._forecaster = Forecaster(context, model)
        self._fast = FastLayer(context)
        self._lives: dict[tuple[str, str], Life] = {}
        self._schedule: Schedule | None = None
        self._progress = Progress()
        self._first_step = -1
        self._summary: dict[str, Any] = {}
        self.judged_step = -1
        self.judged_time = 0.0
        # What was forecast at the steps that were judged last
        self.risk = Risk.none()
        self._outdated: frozenset[str] = frozenset()
        self._firing = Firing()
        self._install(default_rules() if rules is None else rules, {}, {})

    @property
    def marks(self) -> Mapping[str, RuleMark]:
        """By rule, which definition of it judges and since when."""
        return self._marks

    @property
    def lives(self) -> tuple[Life, ...]:
        """The alerts that are pending or firing, in the order in which they were opened."""
        return tuple(one for one in self._ordered() if one.is_open)

    def _ordered(self) -> list[Life]:
        """All alerts, those too that are remembered because they may come back."""
        return sorted(
            self._lives.values(),
            key=lambda one: (one.opened_step, self._places.get(one.rule, -1), one.subject),
        )

    @property
    def summary(self) -> dict[str, Any]:
        """What `runs.summary` holds after the last judged step."""
        return self._summary

    def note_schedule(self, step: int, what: str) -> None:
        """Takes a logged schedule change, before the steps from its own on."""
        last = self._schedule
        if last is not None and step - last.last_step <= SCHEDULE_GAP_STEPS:
            self._schedule = Schedule(last.step, max(step, last.last_step), what)
        else:
            self._schedule = Schedule(step, step, what)
            self._fast.rebase()

    def judge(self, block: Block) -> list[Transition]:
        """Judges a block's steps; those judged before are passed over."""
        # What is not finite, or too large to be squared, is a finding here and no mishap
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            return self._judge(block)

    def _judge(self, block: Block) -> list[Transition]:
        block = block.part(int(block.steps.searchsorted(self.judged_step, "right")), len(block))
        self.risk = Risk.none()
        if not len(block):
            return []
        if self._first_step < 0:
            self._first_step = int(block.steps[0])
        now = measure(block)
        self._history.extend(block.steps, now)
        self._progress = note(self._progress, block, now, self.context)
        first = self._forecaster.num_steps
        outlook = self._forecaster.advance(block)
        self.risk = Risk(block.steps[outlook.rows], outlook.risks)
        stretch = Stretch(
            self.context,
            block,
            now,
            self._history,
            self._first_step,
            self._schedule,
            outlook,
            first,
            self._fast.advance(block),
        )
        self._firing = Firing(self._lives.values())
        found: list[Transition] = []
        for rule in self._rules:
            said = self._apply(rule, stretch)
            self._firing.note(said)
            found += said
        # By step, and at each in the order of the rules
        found.sort(key=lambda one: one.step)
        last = len(block) - 1
        self._history.stand_at(last)
        self.judged_step, self.judged_time = int(block.steps[last]), float(block.times[last])
        self._note_critical(found)
        self._summary = (
            self._summary
            | summarise(self._progress, block.sample(last), self._history, self.context, self.judged_step)
            | look_ahead(outlook)
        )
        return found

    def close(self, lives: Sequence[Life], reason: str) -> list[Transition]:
        """Resolves alerts for a reason outside their rules."""
        for one in lives:
            del self._lives[one.rule, one.subject]
        closed = [alert_life.close(one, self.judged_step, self.judged_time, reason) for one in lives]
        return [self._labelled(one) for one in closed]

    def adopt(self, rules: Sequence[AnyRule]) -> None:
        """Judges by these rules from the next step on; one whose definition is the same goes on."""
        states = {name: _encode(state) for name, state in self._states.items()}
        self._install(rules, states, self._marks)

    def settle(self) -> list[Transition]:
        """Resolves what rules have opened that are gone since, or are now defined otherwise."""
        outdated, self._outdated = self._outdated, frozenset()
        transitions: list[Transition] = []
        for one in self.lives:
            if one.rule in outdated:
                mark = self._marks.get(one.rule)
                reason = (
                    f"The rule {one.rule} is no longer among the rules that judge this run."
                    if mark is None
                    else f"The rule {one.rule} was changed; it is judged afresh from step {mark.since_step}."
                )
                transitions += self.close([one], reason)
        return transitions

    def state(self) -> bytes:
        """The state as bytes; `restore` goes on from it as if nothing had happened."""
        return _encode(
            DetectorState(
                STATE_VERSION,
                self._first_step,
                self.judged_step,
                self.judged_time,
                self._history.pack(),
                {name: _encode(state) for name, state in self._states.items()},
                self._ordered(),
                self._schedule,
                self._progress,
                self._summary,
                self._marks,
                self._forecaster.state(),
                self._fast.state(),
            )
        )

    def restore(self, data: bytes) -> None:
        """Takes over a stored state; a rule that it does not know, or knew otherwise, starts afresh."""
        state = msgspec.msgpack.decode(data, type=DetectorState)
        self._first_step = state.first_step
        self.judged_step = state.judged_step
        self.judged_time = state.judged_time
        self._history = History.unpack(state.history)
        if state.forecaster is not None:
            self._forecaster.restore(state.forecaster)
        self._fast.restore(state.fast)
        self._lives = {(one.rule, one.subject): one for one in state.lives}
        self._schedule = state.schedule
        self._progress = state.progress
        self._summary = state.summary
        self._install(self._rules, state.rules, state.marks)

    def _install(
        self, rules: Sequence[AnyRule], states: Mapping[str, bytes], marks: Mapping[str, RuleMark]
    ) -> None:
        """Takes rules; the stored state of each is kept where its definition is what it was."""
        self._rules = tuple(rules)
        self._selective = {rule.name: rule for rule in self._rules if isinstance(rule, Selective)}
        self._following = {rule.name: rule for rule in self._rules if isinstance(rule, Following)}
        self._places = {rule.name: place for place, rule in enumerate(self._rules)}
        self._states: dict[str, msgspec.Struct] = {}
        self._marks: dict[str, RuleMark] = {}
        kept = set()
        for rule in self._rules:
            own, stored, mark = fingerprint(rule), states.get(rule.name), marks.get(rule.name)
            if stored is not None and (mark is None or mark.fingerprint == own):
                kept.add(rule.name)
                self._states[rule.name] = msgspec.msgpack.decode(stored, type=rule.state_type)
                self._marks[rule.name] = mark or RuleMark(own, -1)
            else:
                self._states[rule.name] = rule.state_type()
                self._marks[rule.name] = RuleMark(own, self.judged_step + 1)
        self._outdated |= states.keys() - kept
        self._inhibitors = {rule.name: frozenset(getattr(rule, "inhibited_by", ())) for rule in self._rules}
        self._labels = {rule.name: dict(getattr(rule, "labels", ())) for rule in self._rules}

    def _apply(self, rule: AnyRule, stretch: Stretch) -> list[Transition]:
        """One rule over a stretch: what it says where it is loud, which is found anew once it may differ."""
        found: list[Transition] = []
        row = 0
        while row < len(stretch):
            state, is_open = self._states[rule.name], self._is_open(rule)
            selective = self._selective.get(rule.name)
            loud = selective.loud(stretch, state, is_open, row) if selective else stretch.every()[row:]
            end = row + len(loud)
            # Often the first of many is the last that is asked
            for place in map(int, row + np.flatnonzero(loud)):
                self._follow(rule, stretch, row, place)
                found += self._update(rule, stretch.moment(place))
                row = place + 1
                if self._states[rule.name] is not state or self._is_open(rule) != is_open:
                    end = row
                    break
            self._follow(rule, stretch, row, end)
            row = end
        return found

    def _follow(self, rule: AnyRule, stretch: Stretch, start: int, end: int) -> None:
        following = self._following.get(rule.name)
        if following is not None and start < end:
            following.follow(stretch, self._states[rule.name], start, end)

    def _update(self, rule: AnyRule, moment: Moment) -> list[Transition]:
        state, verdicts = rule.update(moment, self._states[rule.name])
        self._states[rule.name] = state
        transitions: list[Transition] = []
        for verdict in verdicts:
            key = (rule.name, verdict.subject)
            life = self._lives.get(key)
            if verdict.condition is Condition.HOLDS and self._is_inhibited(rule.name, life, moment.step):
                continue
            now, changes = alert_life.advance(life, rule.name, rule.claim, verdict, moment.step, moment.time)
            transitions += [self._labelled(one) for one in changes]
            if now is not None:
                self._lives[key] = now
            else:
                self._lives.pop(key, None)
        return transitions

    def _is_inhibited(self, rule: str, life: Life | None, step: int) -> bool:
        """Whether another rule that fires keeps this one from opening an alert, or from firing.

        What inhibits a rule stands before it among the rules, so that it has judged the stretch already.
        """
        inhibitors = self._inhibitors[rule]
        if not inhibitors or (life is not None and life.state == "firing"):
            return False
        return self._firing.any_at(inhibitors, step)

    def _labelled(self, one: Transition) -> Transition:
        labels = self._labels.get(one.rule)
        return msgspec.structs.replace(one, labels=labels) if labels else one

    def _is_open(self, rule: AnyRule) -> bool:
        return any(name == rule.name for name, _ in self._lives)

    def _note_critical(self, transitions: Sequence[Transition]) -> None:
        if self._progress.first_critical_step is not None:
            return
        for one in transitions:
            if one.state == "firing" and one.severity == "critical":
                self._progress = msgspec.structs.replace(self._progress, first_critical_step=one.step)
                return

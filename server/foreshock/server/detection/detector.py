"""All rules over one run: samples in step by step, alert transitions out, state that serialises.

The result depends on steps and values alone: not on how they were cut into batches, and not on
whether the process was replaced between two of them.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from foreshock.server.alerts import life as alert_life
from foreshock.server.alerts.life import Life, Transition
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.history import History, PackedHistory
from foreshock.server.detection.measures import measure
from foreshock.server.detection.rule import AnyRule, Moment, Schedule
from foreshock.server.detection.rules import default_rules
from foreshock.server.detection.sample import Sample
from foreshock.server.detection.summary import Progress, note, summarise

STATE_VERSION: Final = 1
# Schedule changes closer than this are one change: a ramp must not restart patience for ever
SCHEDULE_GAP_STEPS: Final = 20
# Sets in one order, so that equal states are equal bytes
_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode


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


class Detector:
    """Judges one attempt of one run."""

    def __init__(self, context: RunContext, rules: Sequence[AnyRule] | None = None) -> None:
        self.context = context
        self._rules = tuple(default_rules() if rules is None else rules)
        self._states: dict[str, msgspec.Struct] = {rule.name: rule.state_type() for rule in self._rules}
        self._history = History()
        self._lives: dict[tuple[str, str], Life] = {}
        self._schedule: Schedule | None = None
        self._progress = Progress()
        self._first_step = -1
        self._summary: dict[str, Any] = {}
        self.judged_step = -1
        self.judged_time = 0.0

    @property
    def lives(self) -> tuple[Life, ...]:
        """The alerts that are pending or firing."""
        return tuple(self._lives.values())

    @property
    def summary(self) -> dict[str, Any]:
        """What `runs.summary` holds after the last judged step."""
        return self._summary

    def note_schedule(self, step: int, what: str) -> None:
        """Takes a logged schedule change, before the samples from its step on."""
        last = self._schedule
        if last is not None and step - last.last_step <= SCHEDULE_GAP_STEPS:
            self._schedule = Schedule(last.step, max(step, last.last_step), what)
        else:
            self._schedule = Schedule(step, step, what)

    def judge(self, samples: Sequence[Sample]) -> list[Transition]:
        """Judges samples in rising steps; those judged before are passed over."""
        transitions: list[Transition] = []
        for sample in samples:
            if sample.step > self.judged_step:
                transitions += self._judge(sample)
        if samples:
            last = samples[-1]
            self._summary = self._summary | summarise(
                self._progress, last, self._history, self.context, self.judged_step
            )
        return transitions

    def close(self, lives: Sequence[Life], reason: str) -> list[Transition]:
        """Resolves alerts for a reason outside their rules."""
        for one in lives:
            del self._lives[one.rule, one.subject]
        return [alert_life.close(one, self.judged_step, self.judged_time, reason) for one in lives]

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
                list(self._lives.values()),
                self._schedule,
                self._progress,
                self._summary,
            )
        )

    def restore(self, data: bytes) -> None:
        """Takes over a stored state; a rule that it does not know starts afresh."""
        state = msgspec.msgpack.decode(data, type=DetectorState)
        self._first_step = state.first_step
        self.judged_step = state.judged_step
        self.judged_time = state.judged_time
        self._history = History.unpack(state.history)
        for rule in self._rules:
            if rule.name in state.rules:
                stored = state.rules[rule.name]
                self._states[rule.name] = msgspec.msgpack.decode(stored, type=rule.state_type)
        self._lives = {(one.rule, one.subject): one for one in state.lives}
        self._schedule = state.schedule
        self._progress = state.progress
        self._summary = state.summary

    def _judge(self, sample: Sample) -> list[Transition]:
        if self._first_step < 0:
            self._first_step = sample.step
        now = measure(sample)
        self._history.append(sample.step, now)
        self._progress = note(self._progress, sample, self._history, self.context)
        moment = Moment(self.context, sample, now, self._history, self._first_step, self._schedule)
        transitions: list[Transition] = []
        for rule in self._rules:
            transitions += self._apply(rule, moment)
        self.judged_step, self.judged_time = sample.step, sample.time
        for one in transitions:
            if one.state == "firing" and one.severity == "critical":
                self._note_critical(one.step)
        return transitions

    def _apply(self, rule: AnyRule, moment: Moment) -> list[Transition]:
        state, verdicts = rule.update(moment, self._states[rule.name])
        self._states[rule.name] = state
        transitions: list[Transition] = []
        for verdict in verdicts:
            key = (rule.name, verdict.subject)
            now, changes = alert_life.advance(
                self._lives.get(key), rule.name, rule.claim, verdict, moment.step, moment.sample.time
            )
            transitions += changes
            if now is not None:
                self._lives[key] = now
            else:
                self._lives.pop(key, None)
        return transitions

    def _note_critical(self, step: int) -> None:
        if self._progress.first_critical_step is None:
            self._progress = msgspec.structs.replace(self._progress, first_critical_step=step)

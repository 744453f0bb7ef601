"""The life of an alert, for all rules in this one place.

inactive -> pending   at the first step at which the condition holds
pending  -> firing    when it holds and has lasted `hold_steps` and `hold_seconds` (at once where both are 0)
pending  -> resolved  when it is clear, or has not held again for `lapse_steps`
firing   -> resolved  when it has been clear for `clear_steps` and `clear_seconds`
firing   -> firing    when the severity rises, or the rule has news: told again
resolved -> pending, firing    when it holds again within REOPEN_STEPS: the same alert goes on

A condition that lies between keeps an alert as it is. One that comes to fire more than MAX_FIRINGS times
within FLAPPING_WINDOW_STEPS flaps: from then on it resolves only after FLAPPING_CLEAR_STEPS without it.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from foreshock.server.alerts.clock import Clock
from foreshock.server.detection.rule import NO_GROUNDS, Condition, Grounds, Verdict
from foreshock.wire.messages import AlertState, Claim, Severity

REOPEN_STEPS: Final = 20
MAX_FIRINGS: Final = 3
FLAPPING_WINDOW_STEPS: Final = 200
FLAPPING_CLEAR_STEPS: Final = 100
SEVERITY_ORDER: Final[Mapping[str, int]] = {"info": 0, "warning": 1, "critical": 2}


class Life(msgspec.Struct, frozen=True):
    """An alert that is pending or firing, or resolved so lately that it may go on or count as flapping."""

    rule: str
    subject: str
    claim: Claim
    severity: Severity
    state: AlertState
    opened_step: int
    # From where the patience counts; the last step at which the condition held; since when clear
    patience_step: int
    held_step: int
    clear_step: int | None
    value: float | None
    advice: str
    clock: Clock = Clock()
    # The clock's seconds at `patience_step` and at `clear_step`
    patience_seconds: float = 0.0
    clear_seconds: float = 0.0
    labels: dict[str, str] = {}
    # The last steps at which it came to fire, of this alert and of those before it
    fired_steps: tuple[int, ...] = ()
    is_flapping: bool = False
    resolved_step: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is pending or firing."""
        return self.state != "resolved"


class Transition(msgspec.Struct, frozen=True):
    """One change of one alert, with the words for it."""

    rule: str
    subject: str
    claim: Claim
    severity: Severity
    state: AlertState
    opened_step: int
    step: int
    time: float
    value: float | None
    reason: str
    advice: str
    grounds: Grounds = NO_GROUNDS
    labels: dict[str, str] = {}
    is_flapping: bool = False


Change = tuple[Life | None, tuple[Transition, ...]]


def alert_key(run_id: str, attempt: int, rule: str, subject: str, opened_step: int) -> str:
    """The alert's identity: a replay of the same log opens the same alerts."""
    identity = "\0".join((run_id, str(attempt), rule, subject, str(opened_step)))
    return hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()


def advance(life: Life | None, rule: str, claim: Claim, verdict: Verdict, step: int, time: float) -> Change:
    """Applies one verdict; gives the alert as it is now and what changed, in order."""
    if life is None or not life.is_open:
        if verdict.condition is Condition.HOLDS:
            return _open(life, rule, claim, verdict, step, time)
        return _remember(life, step), ()
    life = _note(life, verdict, step, time)
    if life.state == "pending":
        return _advance_pending(life, verdict, step, time)
    return _advance_firing(life, verdict, step, time)


def close(life: Life, step: int, time: float, reason: str) -> Transition:
    """Resolves an alert for a reason outside its rule (a new attempt, the end of the run)."""
    return Transition(
        life.rule,
        life.subject,
        life.claim,
        life.severity,
        "resolved",
        life.opened_step,
        step,
        time,
        life.value,
        reason,
        life.advice,
        labels=life.labels,
    )


def _remember(life: Life | None, step: int) -> Life | None:
    """What has resolved is forgotten once nothing could follow from it."""
    if life is None or life.resolved_step is None:
        return None
    return None if step - life.resolved_step > FLAPPING_WINDOW_STEPS else life


def _open(before: Life | None, rule: str, claim: Claim, verdict: Verdict, step: int, time: float) -> Change:
    """A new alert; or, where one has resolved only just, the same again."""
    life = Life(
        rule,
        verdict.subject,
        claim,
        verdict.severity,
        "pending",
        step,
        step,
        step,
        None,
        verdict.value,
        verdict.advice,
        Clock().at(time),
        labels=dict(verdict.labels),
    )
    again = ""
    if before is not None and before.resolved_step is not None:
        life = msgspec.structs.replace(life, fired_steps=before.fired_steps)
        passed = step - before.resolved_step
        if passed <= REOPEN_STEPS:
            life = msgspec.structs.replace(life, opened_step=before.opened_step)
            again = f"Again, {_steps(passed)} after it had resolved."
    if verdict.hold_steps > 0 or verdict.hold_seconds > 0:
        return life, (_transition(life, verdict, step, time, again),)
    return _fire(life, verdict, step, time, again)


def _note(life: Life, verdict: Verdict, step: int, time: float) -> Life:
    clock = life.clock.at(time)
    patience_step = max(life.patience_step, verdict.patience_from or 0)
    clear_step = None
    if verdict.condition is Condition.CLEAR:
        clear_step = step if life.clear_step is None else life.clear_step
    return msgspec.structs.replace(
        life,
        clock=clock,
        held_step=step if verdict.condition is Condition.HOLDS else life.held_step,
        patience_step=patience_step,
        patience_seconds=life.patience_seconds if patience_step == life.patience_step else clock.seconds,
        clear_step=clear_step,
        clear_seconds=clock.seconds if life.clear_step is None else life.clear_seconds,
        value=verdict.value,
    )


def _advance_pending(life: Life, verdict: Verdict, step: int, time: float) -> Change:
    if verdict.condition is Condition.HOLDS:
        life = msgspec.structs.replace(life, severity=verdict.severity)
        if step - life.patience_step < verdict.hold_steps:
            return life, ()
        if life.clock.seconds - life.patience_seconds < verdict.hold_seconds:
            return life, ()
        return _fire(life, verdict, step, time)
    lapse = verdict.lapse_steps
    if verdict.condition is Condition.BETWEEN and (lapse is None or step - life.held_step <= lapse):
        return life, ()
    return _resolve(life, verdict, step, time)


def _advance_firing(life: Life, verdict: Verdict, step: int, time: float) -> Change:
    clear_steps = max(verdict.clear_steps, FLAPPING_CLEAR_STEPS if life.is_flapping else 0)
    if (
        life.clear_step is not None
        and step - life.clear_step >= clear_steps
        and life.clock.seconds - life.clear_seconds >= verdict.clear_seconds
    ):
        return _resolve(life, verdict, step, time)
    worse = SEVERITY_ORDER[verdict.severity] > SEVERITY_ORDER[life.severity]
    if verdict.condition is Condition.HOLDS and (worse or verdict.again):
        life = msgspec.structs.replace(life, severity=verdict.severity)
        return life, (_transition(life, verdict, step, time),)
    return life, ()


def _fire(life: Life, verdict: Verdict, step: int, time: float, more: str = "") -> Change:
    recent = [one for one in life.fired_steps if step - one < FLAPPING_WINDOW_STEPS]
    fired = (*recent[-MAX_FIRINGS:], step)
    is_flapping = len(fired) > MAX_FIRINGS
    life = msgspec.structs.replace(life, state="firing", fired_steps=fired, is_flapping=is_flapping)
    if is_flapping:
        more = (
            f"It has fired {len(fired)} times in {_steps(step - fired[0])}, it flaps: it now stays firing "
            f"until it has been clear for {FLAPPING_CLEAR_STEPS} steps."
        )
    return life, (_transition(life, verdict, step, time, more),)


def _resolve(life: Life, verdict: Verdict, step: int, time: float) -> Change:
    life = msgspec.structs.replace(life, state="resolved", is_flapping=False, resolved_step=step)
    return life, (_transition(life, verdict, step, time),)


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"


def _transition(life: Life, verdict: Verdict, step: int, time: float, more: str = "") -> Transition:
    return Transition(
        life.rule,
        life.subject,
        life.claim,
        life.severity,
        life.state,
        life.opened_step,
        step,
        time,
        verdict.value,
        f"{verdict.reason} {more}" if more else verdict.reason,
        # What was advised then; a condition that is clear has nothing to advise
        life.advice if life.state == "resolved" else verdict.advice,
        verdict.grounds,
        life.labels,
        life.is_flapping,
    )

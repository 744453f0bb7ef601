"""The life of an alert, for all rules in this one place.

inactive -> pending   at the first step at which the condition holds
pending  -> firing    when it holds and has lasted `hold_steps` (at once where that is 0)
pending  -> resolved  when it is clear, or has not held again for `lapse_steps`
firing   -> resolved  when it has been clear for `clear_steps`
firing   -> firing    when the severity rises, or the rule has news: told again

A condition that lies between keeps an alert as it is.
"""

import hashlib
from typing import Final

import msgspec

from foreshock.server.detection.rule import NO_GROUNDS, Condition, Grounds, Verdict
from foreshock.wire.messages import AlertState, Claim, Severity

_SEVERITY_ORDER: Final = {"info": 0, "warning": 1, "critical": 2}


class Life(msgspec.Struct, frozen=True):
    """An alert that is pending or firing."""

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


def alert_key(run_id: str, attempt: int, rule: str, subject: str, opened_step: int) -> str:
    """The alert's identity: a replay of the same log opens the same alerts."""
    identity = "\0".join((run_id, str(attempt), rule, subject, str(opened_step)))
    return hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()


def advance(
    life: Life | None, rule: str, claim: Claim, verdict: Verdict, step: int, time: float
) -> tuple[Life | None, tuple[Transition, ...]]:
    """Applies one verdict; gives the alert as it is now and what changed, in order."""
    if life is None:
        if verdict.condition is not Condition.HOLDS:
            return None, ()
        return _open(rule, claim, verdict, step, time)
    life = _note(life, verdict, step)
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
    )


def _open(
    rule: str, claim: Claim, verdict: Verdict, step: int, time: float
) -> tuple[Life, tuple[Transition, ...]]:
    state: AlertState = "pending" if verdict.hold_steps else "firing"
    life = Life(
        rule,
        verdict.subject,
        claim,
        verdict.severity,
        state,
        step,
        step,
        step,
        None,
        verdict.value,
        verdict.advice,
    )
    return life, (_transition(life, verdict, step, time),)


def _note(life: Life, verdict: Verdict, step: int) -> Life:
    clear_step = None
    if verdict.condition is Condition.CLEAR:
        clear_step = step if life.clear_step is None else life.clear_step
    return msgspec.structs.replace(
        life,
        held_step=step if verdict.condition is Condition.HOLDS else life.held_step,
        patience_step=max(life.patience_step, verdict.patience_from or 0),
        clear_step=clear_step,
        value=verdict.value,
    )


def _advance_pending(
    life: Life, verdict: Verdict, step: int, time: float
) -> tuple[Life | None, tuple[Transition, ...]]:
    if verdict.condition is Condition.HOLDS:
        life = msgspec.structs.replace(life, severity=verdict.severity)
        if step - life.patience_step < verdict.hold_steps:
            return life, ()
        life = msgspec.structs.replace(life, state="firing")
        return life, (_transition(life, verdict, step, time),)
    lapse = verdict.lapse_steps
    if verdict.condition is Condition.BETWEEN and (lapse is None or step - life.held_step <= lapse):
        return life, ()
    return None, (_transition(msgspec.structs.replace(life, state="resolved"), verdict, step, time),)


def _advance_firing(
    life: Life, verdict: Verdict, step: int, time: float
) -> tuple[Life | None, tuple[Transition, ...]]:
    if life.clear_step is not None and step - life.clear_step >= verdict.clear_steps:
        return None, (_transition(msgspec.structs.replace(life, state="resolved"), verdict, step, time),)
    worse = _SEVERITY_ORDER[verdict.severity] > _SEVERITY_ORDER[life.severity]
    if verdict.condition is Condition.HOLDS and (worse or verdict.again):
        life = msgspec.structs.replace(life, severity=verdict.severity)
        return life, (_transition(life, verdict, step, time),)
    return life, ()


def _transition(life: Life, verdict: Verdict, step: int, time: float) -> Transition:
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
        verdict.reason,
        # What was advised then; a condition that is clear has nothing to advise
        life.advice if life.state == "resolved" else verdict.advice,
        verdict.grounds,
    )

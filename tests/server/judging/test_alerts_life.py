"""The life of an alert: pending, firing, resolved, in one place for all rules."""

from foreshock.server.alerts.life import advance
from foreshock.server.detection.rule import Condition, Verdict

H, B, C = Condition.HOLDS, Condition.BETWEEN, Condition.CLEAR


def verdict(condition, severity="warning", **settings):
    return Verdict(condition, severity, 1.0, lambda: "Seen 1.", "Do something.", **settings)


def live(conditions, severities=None, **settings):
    """(state, step) of every transition over consecutive steps."""
    life, found = None, []
    for step, condition in enumerate(conditions):
        if condition is None:
            continue
        severity = severities[step] if severities else "warning"
        life, changes = advance(life, "rule", "rule", verdict(condition, severity, **settings), step, step)
        found += [(one.state, one.step) for one in changes]
    return found


def test_it_fires_at_once_without_a_patience():
    assert live([C, H]) == [("firing", 1)]


def test_it_waits_for_its_patience_and_then_fires():
    assert live([H] * 6, hold_steps=4) == [("pending", 0), ("firing", 4)]


def test_a_condition_that_clears_in_time_never_fires():
    assert live([H, H, C, C], hold_steps=4) == [("pending", 0), ("resolved", 2)]


def test_between_keeps_it_pending_but_cannot_fire_it():
    assert live([H, B, B, B, B, H], hold_steps=2) == [("pending", 0), ("firing", 5)]


def test_a_pending_alert_lapses_when_it_no_longer_holds():
    assert live([H, B, B, B, B], hold_steps=9, lapse_steps=2) == [("pending", 0), ("resolved", 3)]


def test_it_resolves_only_after_being_clear_for_long_enough():
    assert live([H, C, C, H, C, C, C, C], clear_steps=3) == [("firing", 0), ("resolved", 7)]


def test_hysteresis_interrupts_the_clearing():
    assert live([H, C, C, B, C, C, C, C], clear_steps=3) == [("firing", 0), ("resolved", 7)]


def test_steps_without_a_verdict_change_nothing():
    assert live([H, None, None, None, H], hold_steps=3) == [("pending", 0), ("firing", 4)]


def test_a_schedule_change_restarts_the_patience():
    life, found = None, []
    for step in range(10):
        one = verdict(H, hold_steps=4, patience_from=3 if step >= 3 else None)
        life, changes = advance(life, "rule", "rule", one, step, step)
        found += [(change.state, change.step) for change in changes]
    assert found == [("pending", 0), ("firing", 7)]


def test_a_worse_severity_is_told_again_and_a_better_one_is_not():
    severities = ["warning", "warning", "critical", "critical", "warning"]
    assert live([H] * 5, severities) == [("firing", 0), ("firing", 2)]

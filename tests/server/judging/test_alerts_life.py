"""The life of an alert: pending, firing, resolved, in one place for all rules."""

import math

import pytest

from foreshock.server.alerts.life import (
    FLAPPING_CLEAR_STEPS,
    FLAPPING_WINDOW_STEPS,
    MAX_FIRINGS,
    REOPEN_STEPS,
    advance,
    alert_key,
)
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


def lived(conditions, steps=None, times=None, **settings):
    """Every transition, over consecutive steps and seconds unless told otherwise."""
    life, found = None, []
    for place, condition in enumerate(conditions):
        step = place if steps is None else steps[place]
        time = 100.0 + place if times is None else times[place]
        life, changes = advance(life, "rule", "rule", verdict(condition, **settings), step, time)
        found += changes
    return found


def keys(changes):
    return {alert_key("run", 0, one.rule, one.subject, one.opened_step) for one in changes}


def test_patience_in_seconds_counts_the_samples_own_times():
    found = lived([H] * 8, times=[10.0 * place + 1 for place in range(8)], hold_seconds=35)
    assert [(one.state, one.step) for one in found] == [("pending", 0), ("firing", 4)]


def test_steps_and_seconds_must_both_have_passed():
    found = lived([H] * 9, hold_steps=2, hold_seconds=5)
    assert [(one.state, one.step) for one in found] == [("pending", 0), ("firing", 5)]
    found = lived([H] * 9, hold_steps=6, hold_seconds=2)
    assert [(one.state, one.step) for one in found] == [("pending", 0), ("firing", 6)]


def test_it_goes_on_firing_for_seconds():
    found = lived([H, C, C, C, C, C, C], clear_seconds=4)
    assert [(one.state, one.step) for one in found] == [("firing", 0), ("resolved", 5)]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 0.0, -5.0, 3.0])
def test_a_time_that_is_none_or_goes_back_neither_fires_nor_keeps_from_firing(odd):
    times = [100.0, 101.0, odd, 103.0, 104.0, 105.0, 106.0]
    found = lived([H] * 7, times=times, hold_seconds=5)
    assert [(one.state, one.step) for one in found] == [("pending", 0), ("firing", 5)]


def test_where_no_sample_has_a_time_seconds_never_pass():
    found = lived([H] * 50, times=[0.0] * 50, hold_seconds=1)
    assert [one.state for one in found] == ["pending"]


def test_what_comes_back_soon_is_the_same_alert_and_says_so():
    found = lived([H, C, *[C] * (REOPEN_STEPS - 1), H])
    assert [one.state for one in found] == ["firing", "resolved", "firing"]
    assert len(keys(found)) == 1 and "Again, 20 steps after it had resolved" in found[-1].reason
    later = lived([H, C, *[C] * REOPEN_STEPS, H])
    assert [one.state for one in later] == ["firing", "resolved", "firing"]
    assert len(keys(later)) == 2 and "Again" not in later[-1].reason


def test_one_that_flaps_is_told_once_and_stays_until_it_has_been_clear_for_longer():
    found = lived([*[H, C] * 40, *[C] * (FLAPPING_CLEAR_STEPS + 1), C])
    told = [(one.state, one.step, one.is_flapping) for one in found]
    assert told == [
        *((state, step, False) for step, state in enumerate(["firing", "resolved"] * MAX_FIRINGS)),
        ("firing", 2 * MAX_FIRINGS, True),
        ("resolved", 79 + FLAPPING_CLEAR_STEPS, False),
    ]
    assert "fired 4 times in 6 steps, it flaps" in found[-2].reason


def test_firings_long_ago_make_nobody_flap():
    gap = FLAPPING_WINDOW_STEPS // MAX_FIRINGS + 1
    steps = [step for place in range(12) for step in (place * gap, place * gap + 1)]
    assert not any(one.is_flapping for one in lived([H, C] * 12, steps))


@pytest.mark.parametrize(("last", "flaps"), [(-1, True), (0, False)])
def test_the_window_of_flapping_ends_where_it_says(last, flaps):
    steps = [0, 1, 50, 51, 100, 101, FLAPPING_WINDOW_STEPS + last]
    assert lived([H, C, H, C, H, C, H], steps)[-1].is_flapping == flaps


def test_labels_of_the_rule_go_with_the_alert_to_its_end():
    found = lived([H, C], labels={"team": "pre"})
    assert [one.labels for one in found] == [{"team": "pre"}] * 2

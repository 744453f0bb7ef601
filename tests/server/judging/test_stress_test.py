"""The three readings of "within 10 % of the steps", and which of them decides."""

import pytest

from foreshock.server.detection.run_facts import RunFacts, WarningAlert
from foreshock.server.detection.stress_test import judge_stress_test


def stressed(*warned, **changes):
    settings = {
        "run_id": "s",
        "name": "stressed",
        "key": "hc",
        "seed": 0,
        "state": "crashed",
        "total_steps": 200,
        "last_step": 120,
        "log_peak_gain": 9.0,
        "final_loss": None,
        "died": True,
        "has_layers": True,
        "is_stress": True,
        "warnings": tuple(WarningAlert(step, "canary_spread") for step in warned),
    }
    return judge_stress_test(RunFacts(**{**settings, **changes}))


@pytest.mark.parametrize(
    ("warned", "fault", "onset", "readings", "outcome"),
    [
        (19, None, 88, (True, None, False), "passed"),
        (20, None, 88, (False, None, False), "failed"),
        (19, None, 39, (True, None, True), "passed"),
        # A fault at step 100: nothing can be seen before it, so the reading counted from it decides
        (119, 100, 150, (False, True, False), "passed"),
        (120, 100, 150, (False, False, False), "failed"),
        (119, 100, 130, (False, True, True), "passed"),
        (100, 100, 120, (False, True, True), "passed"),
        # At step 0 both are one
        (19, 0, 88, (True, True, False), "passed"),
    ],
)
def test_readings_of_a_warning(warned, fault, onset, readings, outcome):
    test = stressed(warned, fault_step=fault, onset_step=onset)
    assert (test.first_tenth, test.after_fault, test.before_onset) == readings
    assert test.outcome == outcome
    assert test.decided_by == ("first_tenth" if fault is None else "after_fault")


def test_a_warning_before_the_fault_is_a_false_one_and_the_next_counts():
    test = stressed(5, 60, 108, fault_step=100, onset_step=150)
    assert test.warning_step == 108 and test.outcome == "passed"
    assert stressed(5, fault_step=100, onset_step=150).outcome == "failed"


def test_a_warning_after_the_onset_is_none():
    test = stressed(12, onset_step=12)
    assert test.warning_step is None and test.outcome == "failed"
    assert "not warned of before step 12" in test.words


def test_a_run_to_which_nothing_happens_shows_nothing():
    assert stressed(state="finished", died=False, last_step=199).outcome == "open"
    stopped = stressed(12, state="finished", died=False, last_step=20)
    assert stopped.outcome == "passed" and "nothing happened to its loss" in stopped.words


@pytest.mark.parametrize(("onset", "outcome"), [(100, "open"), (101, "open"), (102, "failed")])
def test_what_strikes_at_once_cannot_be_warned_of(onset, outcome):
    test = stressed(fault_step=100, onset_step=onset)
    assert test.outcome == outcome and ("at once after its fault" in test.words) == (outcome == "open")


def test_what_still_runs_is_open_until_it_can_no_longer_pass():
    assert stressed(state="running", died=False).outcome == "open"
    assert stressed(50, state="running", died=False).outcome == "failed"
    assert stressed(10, state="running", died=False).outcome == "passed"
    assert stressed(state="running", died=False, onset_step=15).outcome == "failed"


def test_without_its_length_no_reading_can_be_made():
    test = stressed(12, total_steps=None, onset_step=88)
    assert (test.first_tenth, test.after_fault, test.before_onset) == (None, None, None)
    assert test.outcome == "open" and "total_steps" in test.words

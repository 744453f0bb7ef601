"""The restart verdict: all conditions, each with its numbers, and what is missing by name."""

import math

import numpy as np
import pytest

from foreshock.server.detection.variance import compare_variance
from foreshock.server.detection.verdict import RunFacts, judge_groups


def run(key, number, peak=0.08, loss=2.0, **changes):
    settings = {
        "run_id": f"{key}-{number}",
        "name": f"{key} {number}",
        "key": key,
        "seed": number,
        "state": "finished",
        "total_steps": 200,
        "log_peak_gain": peak,
        "final_loss": loss,
        "died": False,
        "has_layers": True,
        "is_stress": False,
        "first_critical_step": None,
    }
    return RunFacts(**{**settings, **changes})


def seeds(key, peaks, losses):
    return [run(key, i, peak, loss) for i, (peak, loss) in enumerate(zip(peaks, losses, strict=True))]


CALM = seeds("mhc", (0.07, 0.075, 0.08), (2.0, 2.001, 2.002))
WILD = seeds("hc", (2.0, 5.5, 9.0), (2.0, 2.6, 3.4))
STRESS = run("hc", 9, is_stress=True, first_critical_step=15)


def test_a_restart_needs_and_gets_every_condition():
    verdict = judge_groups([*CALM, *WILD, STRESS], "mhc", "hc")
    assert verdict.state == "restart" and verdict.missing == ()
    for test in verdict.tests.values():
        assert test.is_weak and test.is_significant and "F test" in test.test
        assert test.interval[0] <= test.effect
    assert any("peaked at 1.08" in reason for reason in verdict.reasons)


def test_without_a_stress_test_it_says_so_and_stays_undecided():
    verdict = judge_groups([*CALM, *WILD], "mhc", "hc")
    assert verdict.state == "undecided" and verdict.is_under_way
    assert any("tag a run" in words for words in verdict.missing)


@pytest.mark.parametrize(("fired", "state"), [(20, "restart"), (21, "wait"), (None, "wait")])
def test_the_stress_test_must_be_warned_of_within_its_first_tenth(fired, state):
    stress = run("hc", 9, is_stress=True, first_critical_step=fired)
    assert judge_groups([*CALM, *WILD, stress], "mhc", "hc").state == state


def test_a_gain_over_the_limit_is_no_restart():
    high = seeds("mhc", (0.07, 0.075, math.log(1.7)), (2.0, 2.001, 2.002))
    verdict = judge_groups([*high, *WILD, STRESS], "mhc", "hc")
    assert verdict.state == "wait" and "peaked at 1.7 (mhc 2), allowed 1.6" in verdict.reasons[0]


def test_equal_variances_are_no_restart():
    same = seeds("hc", (2.0, 2.005, 2.01), (2.0, 2.001, 2.002))
    assert judge_groups([*CALM, *same, STRESS], "mhc", "hc").state == "wait"


def test_two_seeds_are_too_few_and_it_says_how_many_are_there():
    verdict = judge_groups([*CALM[:2], *WILD, STRESS], "mhc", "hc")
    assert verdict.state == "undecided"
    assert any("2 constrained and 3 baseline" in words for words in verdict.missing)


def test_runs_that_died_are_counted_apart_and_leave_the_final_loss_undecided():
    dead = [run("hc", i, peak, 2.5, died=True) for i, peak in enumerate((6.0, 8.0, 11.0))]
    verdict = judge_groups([*CALM, *dead, STRESS], "mhc", "hc")
    assert verdict.state == "undecided"
    assert "log_peak_gain" in verdict.tests and "final_loss" not in verdict.tests
    assert "3 of 3 baseline and 0 of 3 constrained" in verdict.notes[0]


def test_a_missing_group_is_named_with_those_that_exist():
    verdict = judge_groups(CALM, "mhc", None)
    assert verdict.state == "undecided"
    assert any("baseline" in words and "mhc" in words for words in verdict.missing)


def test_running_runs_keep_it_open():
    running = [run("mhc", 7, state="running")]
    verdict = judge_groups([*CALM, *running, *WILD, STRESS], "mhc", "hc")
    assert any("1 runs have not ended" in words for words in verdict.missing)


def test_brown_forsythe_takes_over_at_six():
    rng = np.random.default_rng(0)
    calm, wild = rng.normal(0, 0.01, 6), rng.normal(0, 1.0, 6)
    test = compare_variance("final_loss", calm, wild)
    assert "Brown-Forsythe" in test.test and not test.is_weak and test.p_value < 0.05
    assert compare_variance("final_loss", wild, calm).p_value > 0.5


def test_three_against_three_can_be_significant_by_the_f_test_only():
    test = compare_variance("final_loss", np.array([0.0, 0.001, 0.002]), np.array([0.0, 1.0, 2.5]))
    assert test.p_value < 1e-4 and test.effect > 1e5


def test_the_error_rate_on_equal_groups_is_what_it_claims():
    rng = np.random.default_rng(2)
    for size in (3, 6):
        draws = [compare_variance("x", rng.normal(size=size), rng.normal(size=size)) for _ in range(200)]
        assert np.mean([test.is_significant for test in draws]) < 0.1


def test_identical_values_are_no_evidence():
    test = compare_variance("final_loss", np.zeros(3), np.zeros(3))
    assert not test.is_significant and test.effect == 1.0
    clear = compare_variance("final_loss", np.zeros(3), np.array([0.0, 1.0, 2.0]))
    assert clear.is_significant and clear.effect == pytest.approx(1 / 1e-8)


@pytest.mark.parametrize("size", [3, 6])
def test_a_group_without_a_spread_has_finite_numbers_and_says_so(size):
    calm, wild = 1e-7 * np.arange(size), np.linspace(0, 2, size)
    test = compare_variance("log_peak_gain", calm, wild)
    assert test.is_significant and 0 < test.p_value < 0.05
    assert all(map(math.isfinite, (test.effect, *test.interval))) and test.interval[0] > 1
    assert "The constrained group has no spread measurable" in test.words and "inf" not in test.words
    rounding = compare_variance("log_peak_gain", calm, 1e-6 * np.arange(size))
    assert not rounding.is_significant and rounding.effect == 1.0 and rounding.interval == (1.0, 1.0)
    assert "constrained and the baseline" in rounding.words


def test_runs_that_ended_early_are_noted_with_their_lengths():
    short = [
        run("hc", i, peak, 2.5, state="lost", last_step=35 + 29 * i) for i, peak in enumerate((2.0, 5, 9))
    ]
    whole = [run("mhc", i, 0.08 + 0.005 * i, last_step=199) for i in range(3)]
    verdict = judge_groups([*whole, *short, STRESS], "mhc", "hc")
    (note,) = verdict.notes
    assert note.startswith("3 of 3 hc runs ended early, after 36 to 94 of 200 steps (lost)")

"""The restart verdict: all conditions, each with its numbers, and what is missing by name."""

import math

import pytest

from foreshock.server.detection.pair import Pair, Place, independent
from foreshock.server.detection.run_facts import RunFacts, WarningAlert
from foreshock.server.detection.verdict import judge_groups


def run(key, number, peak=0.08, loss=2.0, **changes):
    settings = {
        "run_id": f"{key}-{number}",
        "name": f"{key} {number}",
        "key": key,
        "seed": number,
        "state": "finished",
        "total_steps": 200,
        "last_step": 199,
        "log_peak_gain": peak,
        "final_loss": loss,
        "died": False,
        "has_layers": True,
        "is_stress": False,
    }
    return RunFacts(**{**settings, **changes})


def seeds(key, peaks, losses, **changes):
    return [
        run(key, i, peak, loss, **changes) for i, (peak, loss) in enumerate(zip(peaks, losses, strict=True))
    ]


def stressed(fired=15, **changes):
    warnings = () if fired is None else (WarningAlert(fired, "canary_spread"),)
    return run("hc", 9, is_stress=True, warnings=warnings, **{"onset_step": 88, **changes})


def requirement(verdict, name):
    return next(one for one in verdict.requirements if one.name == name)


CALM = seeds("mhc", (0.07, 0.075, 0.08), (2.0, 2.001, 2.002))
WILD = seeds("hc", (2.0, 5.5, 9.0), (2.0, 2.6, 3.4))
STRESS = stressed()


def test_a_restart_needs_and_gets_every_condition():
    verdict = judge_groups([*CALM, *WILD, STRESS], "mhc", "hc")
    assert verdict.state == "restart" and verdict.missing == ()
    assert {one.state for one in verdict.requirements} == {"met"} and len(verdict.requirements) == 6
    for test in verdict.tests.values():
        assert test.is_weak and test.is_significant and "F test" in test.test
        assert test.interval[0] <= test.effect
    assert any("peaked at 1.08" in reason for reason in verdict.reasons)
    assert sum("weak evidence" in reason for reason in verdict.reasons) == 2


def test_without_a_stress_test_it_says_how_to_make_one_and_stays_undecided():
    verdict = judge_groups([*CALM, *WILD], "mhc", "hc")
    assert verdict.state == "undecided" and verdict.is_under_way and not verdict.is_over
    assert any("tagged 'stress'" in words for words in verdict.missing)


@pytest.mark.parametrize(("fired", "state"), [(19, "restart"), (20, "wait"), (None, "wait")])
def test_the_stress_test_must_be_warned_of_within_its_first_tenth(fired, state):
    assert judge_groups([*CALM, *WILD, stressed(fired)], "mhc", "hc").state == state


def test_one_stress_test_that_was_missed_outweighs_one_that_was_not():
    missed = stressed(None, run_id="b", name="missed")
    verdict = judge_groups([*CALM, *WILD, STRESS, missed], "mhc", "hc")
    assert verdict.state == "wait" and "missed was not warned of before step 88" in verdict.reasons[0]


def test_a_gain_over_the_limit_is_no_restart():
    high = seeds("mhc", (0.07, 0.075, math.log(1.7)), (2.0, 2.001, 2.002))
    verdict = judge_groups([*high, *WILD, STRESS], "mhc", "hc")
    assert verdict.state == "wait" and "peaked at 1.7 (mhc 2), allowed 1.6" in verdict.reasons[0]


def test_a_gain_that_overflowed_is_a_failure_and_not_a_gap():
    high = seeds("mhc", (0.07, 0.075, math.inf), (2.0, 2.001, 2.002))
    verdict = judge_groups([*high, *WILD, STRESS], "mhc", "hc")
    assert verdict.state == "wait" and "peaked at inf (mhc 2)" in verdict.reasons[0]
    assert any("overflowed" in note for note in verdict.notes)


def test_equal_variances_are_no_restart():
    same = seeds("hc", (2.0, 2.005, 2.01), (2.0, 2.001, 2.002))
    assert judge_groups([*CALM, *same, STRESS], "mhc", "hc").state == "wait"


def test_a_ratio_that_more_seeds_would_show_says_how_many():
    near = seeds("hc", (2.0, 2.02, 2.04), (2.0, 2.6, 3.4))
    verdict = judge_groups([*CALM, *near, STRESS], "mhc", "hc", place=Place("my runs", "connection"))
    found = requirement(verdict, "log_peak_gain")
    assert found.state == "failed" and found.is_marginal  # p = 0.06: would keep what was said before
    assert "run 1 more seed of mhc" in found.todo and "about 4 seeds a group" in found.todo
    assert "foreshock train --connection mhc ... --seed 3 --project 'my runs'" in found.todo


def test_two_seeds_are_too_few_and_it_says_what_to_run():
    verdict = judge_groups([*CALM[:1], *WILD[1:], STRESS], "mhc", "hc", place=Place("p", "model.connection"))
    assert verdict.state == "undecided"
    (words,) = [one for one in verdict.missing if one.startswith("Variance of log peak gain")]
    assert "1 constrained and 2 baseline runs have one, at least 3 of each" in words
    assert (
        "Run 2 more seeds of mhc, with the command of mhc 0" in words
        and "--seed 1 --project p, then 2" in words
    )
    assert "run 1 more seed of hc" in words and "--connection hc ... --seed 0 --project p)" in words


def test_baseline_runs_that_died_are_counted_apart_and_leave_the_final_loss_undecided():
    dead = [run("hc", i, peak, 2.5, died=True, state="crashed") for i, peak in enumerate((6.0, 8.0, 11.0))]
    verdict = judge_groups([*CALM, *dead, STRESS], "mhc", "hc")
    assert verdict.state == "undecided"
    assert "log_peak_gain" in verdict.tests and "final_loss" not in verdict.tests
    assert "3 of 3 baseline and 0 of 3 constrained" in verdict.notes[0]
    assert "train hc where 3 seeds live" in requirement(verdict, "final_loss").todo


def test_a_constrained_run_that_died_is_no_restart_however_many_lived():
    many = seeds("mhc", (0.07, 0.075, 0.08, 0.072), (2.0, 2.001, 2.002, 2.003))
    dead = run("mhc", 8, 0.07, 2.0, died=True, state="crashed", last_step=120)
    verdict = judge_groups([*many, dead, *WILD, STRESS], "mhc", "hc")
    assert verdict.state == "wait" and verdict.is_over
    assert "1 of 5 constrained runs ended in a non-finite loss: mhc 8" in verdict.reasons[0]


def test_a_constrained_run_that_ended_early_proves_nothing():
    short = run("mhc", 7, 0.07, 2.0, state="lost", last_step=30)
    verdict = judge_groups([*CALM, short, *WILD, STRESS], "mhc", "hc")
    assert verdict.state == "undecided" and not verdict.is_over
    assert "resume or repeat mhc 7" in requirement(verdict, "ends").todo.lower()


def test_a_missing_group_is_named_with_those_that_exist():
    verdict = judge_groups(CALM, "mhc", None)
    assert verdict.state == "undecided"
    assert any("baseline" in words and "mhc" in words for words in verdict.missing)


def test_running_runs_keep_it_open_and_take_no_part_in_the_tests():
    running = run("mhc", 7, peak=3.0, loss=9.0, state="running", last_step=50)
    before = judge_groups([*CALM, *WILD, STRESS], "mhc", "hc").tests["log_peak_gain"]
    verdict = judge_groups([*CALM, running, *WILD, STRESS], "mhc", "hc")
    assert verdict.tests["log_peak_gain"] == before
    assert verdict.state == "wait"  # its gain is over the limit already
    calm = judge_groups([*CALM, run("mhc", 7, state="running", last_step=50), *WILD, STRESS], "mhc", "hc")
    assert calm.state == "undecided" and not calm.is_over
    assert "1 of 4 mhc runs still runs." in requirement(calm, "ends").words


def test_runs_that_ended_early_are_noted_with_their_lengths():
    short = [
        run("hc", i, peak, 2.5, state="lost", last_step=35 + 29 * i) for i, peak in enumerate((2.0, 5, 9))
    ]
    verdict = judge_groups([*CALM, *short, STRESS], "mhc", "hc")
    (note,) = verdict.notes
    assert note.startswith("3 of 3 hc runs ended early, after 36 to 94 of 200 steps (lost)")


def test_a_repeated_seed_counts_once_and_is_told():
    twins = [run("mhc", i, 0.07 + 0.005 * i, 2.0 + i / 1000, seed=0, run_id=f"r{i}") for i in range(3)]
    assert independent(twins) == [twins[2]]
    verdict = judge_groups([*twins, *WILD, STRESS], "mhc", "hc")
    assert verdict.tests == {} and verdict.state == "undecided"
    assert any(
        "2 of 3 mhc runs repeat a seed (0): they are not independent" in note for note in verdict.notes
    )
    assert next(group for group in verdict.groups if group.key == "mhc").num_seeds == 1


def test_of_a_repeated_seed_the_whole_run_counts():
    cut = run("mhc", 0, run_id="cut", state="crashed", last_step=9)
    assert independent([CALM[0], cut]) == [CALM[0]]
    assert independent([cut, CALM[0]]) == [CALM[0]]


def test_runs_without_a_seed_and_ties_are_told():
    nameless = [run("mhc", i, 0.07 + 0.005 * i, 2.0, seed=None) for i in range(3)]
    notes = " ".join(judge_groups([*nameless, *WILD, STRESS], "mhc", "hc").notes)
    assert "3 of 3 mhc runs name no seed" in notes
    assert "3 mhc runs of different seeds end at the same loss" in notes


def test_runs_of_another_length_are_left_out_of_the_tests():
    longer = run("hc", 5, 20.0, 9.0, total_steps=400, last_step=399)
    with_it = Pair("mhc", "hc", CALM, [*WILD, longer])
    assert with_it.tests == Pair("mhc", "hc", CALM, WILD).tests
    notes = judge_groups([*CALM, *WILD, longer, STRESS], "mhc", "hc").notes
    assert any(
        "1 of 4 hc runs are of another length, 400 steps where most have 200" in note for note in notes
    )


@pytest.mark.parametrize("loss", [0.0, -1.5, math.inf, math.nan])
def test_a_final_loss_without_a_logarithm_is_left_out_and_told(loss):
    odd = run("mhc", 3, 0.07, loss)
    verdict = judge_groups([*CALM, odd, *WILD, STRESS], "mhc", "hc")
    assert verdict.tests["final_loss"].num_constrained == 3
    assert verdict.tests["log_peak_gain"].num_constrained == 4
    assert any("not above 0, or not finite" in note for note in verdict.notes)


def test_groups_of_unequal_size_are_tested_by_the_smaller():
    many = seeds("mhc", [0.07 + 0.001 * i for i in range(9)], [2 + 0.001 * i for i in range(9)])
    test = judge_groups([*many, *WILD, STRESS], "mhc", "hc").tests["final_loss"]
    assert (test.num_constrained, test.num_baseline) == (9, 3) and test.is_weak and "F test" in test.test


def test_healthy_runs_that_were_warned_of_are_told():
    warned = [run("mhc", 5, 0.07, 2.0005, warnings=(WarningAlert(3, "time_bomb"),))]
    notes = judge_groups([*CALM, *warned, *WILD, STRESS], "mhc", "hc").notes
    assert any("1 of 4 mhc runs, which lived, were warned of as well (time_bomb)" in note for note in notes)

"""All thresholds at once say what each says alone; budgets and diagrams of watchers with known scores."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.reference_models.scenarios.scoring.watchers import a_run

from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap
from foreshock.reference_models.scenarios.scoring.budget import choose, replicated_recall
from foreshock.reference_models.scenarios.scoring.episodes import in_force
from foreshock.reference_models.scenarios.scoring.molchan import chance, molchan, molchan_point
from foreshock.reference_models.scenarios.scoring.outcome import outcome
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.sweep import Sweep, sweep, thresholds_of

ONSETS = (None, 200, None, 900, 1400, None, 30, 600)
RUNS = [a_run(onset) for onset in ONSETS] + [a_run(800, expected="exogenous", fault_rows=(700,))]


def noise(seed: int, runs: list[ScoredRun] = RUNS) -> list[NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    return [generator.random(run.num_rows) ** 8 for run in runs]


def swept(scores: list[NDArray[np.float64]], runs: list[ScoredRun] = RUNS, delay: int = 0) -> Sweep:
    return sweep(runs, scores, thresholds_of(runs, scores), delay)


@pytest.mark.parametrize("delay", [0, 7])
def test_a_sweep_is_the_outcome_at_every_threshold(delay: int) -> None:
    scores = noise(0)
    scores[1][100:] = np.nan
    scores[3][500] = np.inf
    found = swept(scores, delay=delay)
    for place in range(0, len(found.thresholds), 7):
        for number, (run, score) in enumerate(zip(RUNS, scores, strict=True)):
            alone = outcome(run, score > found.thresholds[place], delay)
            assert found.false_CN[place, number] == alone.num_false
            assert found.lead_CN[place, number] == alone.lead


def test_alarm_time_is_that_of_the_alarms() -> None:
    scores = noise(1)
    found = swept(scores)
    for place in range(0, len(found.thresholds), 11):
        point = molchan_point(RUNS, [score > found.thresholds[place] for score in scores])
        assert point is not None
        is_positive = np.array([run.is_positive for run in RUNS])
        assert found.force_CN[place].sum() / found.weight_N.sum() == pytest.approx(point.alarm_time)
        assert 1 - found.covered_CN[place].sum() / is_positive.sum() == pytest.approx(point.miss_rate)
        on = scores[3] > found.thresholds[place]
        assert found.force_CN[place, 3] == in_force(on, 450, 20)[:901].sum()


def test_the_lowest_threshold_is_always_on_and_the_highest_silent() -> None:
    found = swept(noise(2))
    assert (found.false_CN[-1] == 0).all()
    assert (found.force_CN[0, [0, 2, 5]] == 1500 - 20).all()


@pytest.mark.parametrize("seed", range(5))
def test_recall_never_falls_as_the_budget_grows(seed: int) -> None:
    scores = noise(seed)
    for run, score in zip(RUNS, scores, strict=True):
        if run.is_positive and run.onset is not None and seed % 2:
            score[max(0, run.onset - 60)] += seed / 5
    found = swept(scores)
    recalls = []
    for budget in (0.0, 0.05, 0.2, 1.0, 5.0, 50.0):
        place = choose(found, RUNS, budget)
        assert place is not None
        healthy = sum(run.healthy_end for run in RUNS)
        assert 1000 * found.false_CN[place].sum() <= budget * healthy
        recalls.append(int((found.lead_CN[place] > 0).sum()))
    assert recalls == sorted(recalls)


def perfect() -> list[NDArray[np.float64]]:
    scores = [np.zeros(run.num_rows) for run in RUNS]
    for run, score in zip(RUNS, scores, strict=True):
        if run.is_positive and run.onset is not None:
            score[max(0, run.onset - 25)] = 1.0
    return scores


def test_an_oracle_keeps_every_budget_with_full_recall() -> None:
    found = swept(perfect())
    place = choose(found, RUNS, 0.0)
    assert place is not None
    assert (found.lead_CN[place] > 0).sum() == 5
    bootstrap = Bootstrap.of(len(RUNS), 200, 0)
    replicates = replicated_recall(found, RUNS, bootstrap, 0.05)
    assert np.nanmin(replicates) == 1.0


def test_random_alarms_have_no_skill_and_the_oracle_all_of_it() -> None:
    onsets = np.random.default_rng(1).integers(30, 1500, 300).tolist()
    runs = [a_run(int(onset)) for onset in onsets]
    bootstrap = Bootstrap.of(len(runs), 100, 0)
    generator = np.random.default_rng(2)
    random = [np.where(generator.random(1500) < 0.01, generator.random(1500), 0.0) for _ in runs]
    found = molchan(runs, swept(random, runs), bootstrap)
    assert found is not None and found.skill.low is not None and found.skill.high is not None
    assert found.skill.low < 0 < found.skill.high
    assert found.skill.high - found.skill.low < 0.2
    chance_line = np.interp(found.alarm_time, found.chance_alarm_time, found.chance_miss_rate)
    np.testing.assert_allclose(found.miss_rate, chance_line, atol=0.08)
    oracle = [np.where(np.arange(1500) == run.onset - 20, 1.0, 0.0) for run in runs if run.onset]
    best = molchan(runs, swept(oracle, runs), bootstrap)
    assert best is not None and best.skill.value is not None
    assert best.skill.value > 0.6


def test_where_every_row_can_be_covered_chance_is_the_diagonal() -> None:
    runs = [a_run(onset) for onset in (700, 1000, 1300)]
    late = [(np.arange(1500) >= 450).astype(np.float64) for _ in runs]
    force, covered = chance(runs, late)
    weight = sum(float(each[: run.eligible_end].sum()) for run, each in zip(runs, late, strict=True))
    np.testing.assert_allclose(force.sum(axis=1) / weight, covered.sum(axis=1) / 3)


def test_an_alarm_that_is_always_on_gains_nothing() -> None:
    point = molchan_point(RUNS, [np.ones(run.num_rows, np.bool_) for run in RUNS])
    assert point is not None and point.gain is not None
    assert point.miss_rate == 0
    assert point.gain == pytest.approx(1.0, abs=0.05)
    silent = molchan_point(RUNS, [np.zeros(run.num_rows, np.bool_) for run in RUNS])
    assert silent is not None
    assert (silent.alarm_time, silent.miss_rate, silent.gain) == (0, 1, None)

"""Calibration, structural risk, attribution and faults, worked out by hand or by another formula."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.reference_models.scenarios.scoring.watchers import a_run

from foreshock.reference_models.scenarios.scoring.attribution import attribution
from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap
from foreshock.reference_models.scenarios.scoring.calibration import calibration
from foreshock.reference_models.scenarios.scoring.exogenous import exogenous_score
from foreshock.reference_models.scenarios.scoring.scored_run import Fork, ScoredRun
from foreshock.reference_models.scenarios.scoring.structural import structural_score
from foreshock.reference_models.scenarios.scoring.watcher import Alarm
from foreshock.reference_models.scenarios.scoring.watching import RunWatch, open_rows
from foreshock.wire.messages import AlertState, Claim, Severity

SILENT = np.zeros(1500)


def watch(
    *alarms: tuple[int, Alarm], structural: NDArray[np.float64] | None = None, leak_row: int | None = None
) -> RunWatch:
    return RunWatch(SILENT, None, structural, alarms, 900, leak_row)


def alarm(
    row: int,
    claim: Claim = "event",
    severity: Severity = "critical",
    state: AlertState = "firing",
    signal: str | None = None,
) -> tuple[int, Alarm]:
    return row, Alarm(row, claim, "run", claim, severity, state, signal)


def risks(*values: float) -> list[NDArray[np.float64]]:
    return [np.full((1500, 4), value) for value in values]


def test_brier_and_ece_by_hand() -> None:
    runs = [a_run(1000), a_run(None)]
    found = calibration(runs, risks(0.25, 0.05), Bootstrap.of(2, 50, 0))
    assert found is not None
    told = found["100"]
    # 1,000 rows before the onset, of which 100 are followed; 1,500 of the other run, of which none is
    base = 100 / 2500
    brier = (100 * 0.75**2 + 900 * 0.25**2 + 1500 * 0.05**2) / 2500
    assert told.climatology == pytest.approx(base)
    assert told.brier == pytest.approx(brier)
    assert told.brier_skill.value == pytest.approx(1 - brier / (base * (1 - base)))
    assert told.ece.value == pytest.approx((1000 * abs(0.25 - 0.1) + 1500 * 0.05) / 2500)
    assert (told.num_rows[0], told.num_rows[2]) == (1500, 1000)
    assert (told.mean_risk[2], told.followed[2]) == pytest.approx((0.25, 0.1))
    assert told.mean_risk[5] is None


def test_the_climatology_has_no_skill_and_the_truth_all_of_it() -> None:
    runs = [a_run(1000), a_run(None)]
    bootstrap = Bootstrap.of(2, 50, 0)
    constant = calibration(runs, risks(150 / 2500, 150 / 2500), bootstrap)
    truth = risks(0.0, 0.0)
    truth[0][850:1000, 3] = 1.0
    truth[0][1000:] = 0.7
    sure = calibration(runs, truth, bootstrap)
    assert constant is not None and sure is not None
    assert constant["10%"].brier_skill.value == pytest.approx(0)
    assert constant["10%"].ece.value == pytest.approx(0)
    assert sure["10%"].brier_skill.value == 1
    assert sure["10%"].ece.value == 0


def test_exogenous_runs_and_rows_without_a_risk_do_not_count() -> None:
    runs = [a_run(1000), a_run(900, expected="exogenous", fault_rows=(900,))]
    given = risks(0.5, 0.5)
    given[0][:400] = np.nan
    found = calibration(runs, given, Bootstrap.of(2, 50, 0))
    assert found is not None
    assert sum(found["20"].num_rows) == 600
    assert calibration(runs, [None, None], Bootstrap.of(2, 50, 0)) is None
    untold = calibration([a_run(None)], risks(0.5), Bootstrap.of(1, 50, 0))
    assert untold is not None and untold["20"].brier_skill.value is None and untold["20"].brier_skill.why


def forked(scores_and_labels: list[tuple[float, bool | None]]) -> tuple[list[ScoredRun], list[RunWatch]]:
    runs, watches = [], []
    for score, at_risk in scores_and_labels:
        track = np.zeros(1500)
        track[140:150] = score
        track[150:] = 99.0
        runs.append(a_run(None, forks=(Fork(0.1, 150, at_risk),)))
        watches.append(watch(structural=track))
    return runs, watches


@pytest.mark.parametrize("seed", range(4))
def test_auroc_is_the_share_of_pairs_in_order(seed: int) -> None:
    generator = np.random.default_rng(seed)
    given = [(float(generator.integers(0, 6)), bool(generator.integers(0, 2))) for _ in range(20)]
    found = structural_score(*forked([*given, (5.0, None)]), None, Bootstrap.of(21, 100, 0)).all_runs["0.1"]
    pairs = list(
        itertools.product([s for s, label in given if label], [s for s, label in given if not label])
    )
    expected = sum((high > low) + 0.5 * (high == low) for high, low in pairs) / len(pairs)
    assert found.auroc.value == pytest.approx(expected)
    assert found.num_at_risk + found.num_safe == 20


def test_auroc_of_one_kind_alone_cannot_be_told_and_says_why() -> None:
    found = structural_score(*forked([(1.0, False), (2.0, False)]), None, Bootstrap.of(2, 50, 0))
    assert found.all_runs["0.1"].auroc.value is None
    assert found.all_runs["0.1"].auroc.why == "0 runs are labelled at risk and 2 not; both kinds are needed"


def test_flags_count_in_their_window_and_before_the_onset() -> None:
    def flagged(run: ScoredRun, *alarms: tuple[int, Alarm]) -> float | None:
        found = structural_score([run], [watch(*alarms)], None, Bootstrap.of(1, 50, 0))
        return found.diverging_flagged.value if run.has_diverged else found.healthy_flagged.value

    dying = a_run(800, has_diverged=True)
    assert flagged(dying, alarm(150, "structural", "warning")) == 1
    assert flagged(dying, alarm(151, "structural", "warning")) == 0
    assert flagged(dying, alarm(100, "structural", "info")) == 0
    assert flagged(dying, alarm(100, "event")) == 0
    assert flagged(a_run(60, has_diverged=True), alarm(60, "rule")) == 0
    planted = a_run(800, has_diverged=True, fault_rows=(600,), expected="exogenous")
    assert flagged(planted, alarm(100, "rule"), alarm(120, "rule", state="resolved")) == 0
    assert flagged(planted, alarm(740, "rule")) == 1
    sound = a_run(None, expected="negative")
    assert flagged(sound, alarm(1400, "rule", "warning")) == 1
    assert flagged(sound, alarm(1400, "rule", "info")) == 0


def test_an_alert_is_open_from_firing_to_resolved() -> None:
    alarms = (alarm(3, state="pending"), alarm(5), alarm(8, state="resolved"), alarm(11, severity="warning"))
    assert np.flatnonzero(open_rows(alarms, 14, ("event",), ("critical",))).tolist() == [5, 6, 7]
    both = open_rows(alarms, 14, ("event",), ("critical", "warning"))
    assert np.flatnonzero(both).tolist() == [5, 6, 7, 11, 12, 13]


def test_the_first_reason_is_held_against_what_was_planted() -> None:
    runs = [a_run(900, family="F5", run_id=str(n)) for n in range(4)]
    runs.append(a_run(900, family="unheard of", run_id="4"))
    watches = [
        watch(alarm(800, signal="router_entropy"), alarm(850, signal="loss")),
        watch(alarm(800, "rule", signal="router_entropy"), alarm(850, signal="loss")),
        watch(alarm(800)),
        watch(alarm(901, signal="router_entropy")),
        watch(alarm(800, signal="loss")),
    ]
    found = attribution(runs, watches, Bootstrap.of(5, 50, 0))
    assert found is not None
    assert (found.share.value, found.num_warned, found.num_named) == (0.5, 3, 2)
    assert found.named == {"0": "router_entropy", "1": "loss", "2": None}


def test_faults_must_be_seen_at_once_and_not_before() -> None:
    planted = [
        a_run(900, family="F11", expected="exogenous", fault_rows=(900,), run_id=str(n)) for n in range(3)
    ]
    sound = a_run(None, expected="negative", run_id="sound")
    watches = [
        watch(alarm(903, "rule", "warning")),
        watch(alarm(904, "rule", "warning")),
        watch(alarm(100), alarm(110, state="resolved"), alarm(900), leak_row=100),
        watch(),
    ]
    found = exogenous_score([*planted, sound], watches, None, Bootstrap.of(4, 50, 0))
    assert found.detected.value == pytest.approx(2 / 3)
    assert (found.pages_before, found.steps_before, found.leaks) == (1, 2700, {"2": 100})
    # The other run has no false alarm at all, so that one before a fault has no chance
    assert found.p_value == 0


def test_faults_in_runs_that_are_at_risk_already_do_not_count_beside_sound_ones() -> None:
    runs = [
        a_run(900, family=family, expected="exogenous", fault_rows=(900,), run_id=family)
        for family in ("F11", "defence")
    ]
    watches = [watch(alarm(900)), watch(alarm(100))]
    both = exogenous_score(runs, watches, None, Bootstrap.of(2, 50, 0))
    assert (both.num_events, both.pages_before, both.steps_before) == (1, 0, 900)
    alone = exogenous_score(runs[1:], watches[1:], None, Bootstrap.of(1, 50, 0))
    assert (alone.num_events, alone.pages_before) == (1, 1)


def test_intervals_are_by_run() -> None:
    bootstrap = Bootstrap.of(2, 4000, 0)
    found = bootstrap.ratio([1000.0, 0.0], [1000.0, 1000.0], "none")
    # Of two runs either is drawn twice in a quarter of the replicates, however many steps they have
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
    assert bootstrap.ratio([0, 0], [0, 0], "nothing").why == "nothing"


def test_none_of_many_is_no_proof_of_none() -> None:
    bootstrap = Bootstrap.of(10, 100, 0)
    none = bootstrap.ratio(np.zeros(10), np.ones(10), "")
    every = bootstrap.ratio(np.ones(10), np.ones(10), "")
    assert (none.low, none.high) == pytest.approx((0, 0.25887), abs=1e-4)
    assert (every.low, every.high) == pytest.approx((0.74113, 1), abs=1e-4)
    rate = bootstrap.ratio(np.zeros(10), np.full(10, 1500.0), "", 1000.0)
    assert rate.high == pytest.approx(0.1997, abs=1e-4)


def test_a_quantile_of_what_is_there() -> None:
    found = Bootstrap.of(4, 200, 0).quantile([1.0, np.nan, 3.0, 5.0], 0.5, "none")
    assert (found.value, found.low, found.high) == (3, 1, 5)
    assert Bootstrap.of(1, 10, 0).quantile([np.nan], 0.5, "none").why == "none"

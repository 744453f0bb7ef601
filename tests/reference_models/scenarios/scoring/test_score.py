"""Whole folders: watchers with known outcomes, the command, and folders that are not as they should be."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference_models.scenarios.in_process import foreshock
from tests.reference_models.scenarios.scoring.recorded import calm, record, spiked
from tests.reference_models.scenarios.scoring.watchers import Constant, Noise, Oracle, Peeking

from foreshock.reference_models import plain_json
from foreshock.reference_models.errors import ScoreError
from foreshock.reference_models.scenarios.record import read_record
from foreshock.reference_models.scenarios.scoring.baselines.level import Level
from foreshock.reference_models.scenarios.scoring.baselines.zclip import ZClip
from foreshock.reference_models.scenarios.scoring.score import Scoreboard, score
from foreshock.reference_models.scenarios.scoring.scored_run import scored_run
from foreshock.reference_models.scenarios.scoring.scoring_options import ScoringOptions
from foreshock.reference_models.scenarios.scoring.showing import attempts
from foreshock.reference_models.scenarios.scoring.watcher import Attempt, Watch
from foreshock.reference_models.scenarios.scoring.watching import watch_run
from foreshock.server.detection.block import Block

ONSETS = {"p0": 400, "p1": 800, "p2": 1200}
QUICK = ScoringOptions(num_replicates=50)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three runs with an event, three without, one whose event is a planted fault."""
    out = tmp_path / "runs"
    for seed, (run_id, onset) in enumerate(ONSETS.items()):
        record(out, run_id, spiked(seed, onset), family=f"F{3 + seed}")
    for seed in range(3):
        record(out, f"n{seed}", calm(10 + seed), family="F12", expected="negative")
    fault = {"kind": "bad_batch", "step": 900, "num_steps": 15, "share": 1.0}
    record(out, "x", spiked(20, 900), family="F11", expected="exogenous", faults=[fault])
    return out


def told(board: Scoreboard) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(plain_json.dump(board.as_dict()))
    return parsed


def test_watchers_with_known_outcomes(folder: Path) -> None:
    watchers = (Oracle(ONSETS), Constant(1.0, "always"), Constant(0.0, "silent"), Noise())
    found = told(score(folder, watchers, QUICK))
    counts = found["runs"]
    assert (counts["scored"], counts["positive"], counts["exogenous"], counts["without_event"]) == (
        7,
        3,
        1,
        3,
    )
    # Three whole runs, the rows before 400 - 450, 800 - 450 and 1200 - 450, and those before the fault
    assert counts["healthy_steps"] == 3 * 1500 + 0 + 350 + 750 + 900
    oracle, always, silent = (found["watchers"][name]["published"] for name in ("oracle", "always", "silent"))
    assert oracle["recall"]["value"] == 1
    assert oracle["lead_median_steps"]["value"] == 150
    assert (oracle["num_false"], oracle["healthy_runs_paged"]["value"]) == (0, 0)
    assert [one["fate"] for one in found["events"]] == ["hit"] * 3
    assert {(one["lead_steps"], one["lead_percent"]) for one in found["events"]} == {(150, 10.0)}
    # On from the first row: a hit where that lies in the lead window, a false alarm in every other run
    assert always["fates"] == {"hit": 1, "short": 0, "late": 0, "early": 2, "missed": 0}
    assert always["num_false"] == 6
    assert always["false_per_1000"]["value"] == pytest.approx(6000 / 6500)
    assert (silent["recall"]["value"], silent["false_per_1000"]["value"]) == (0, 0)
    assert silent["lead_median_steps"]["value"] == 0
    at = {name: each["budgets"]["0.05"]["recall"]["value"] for name, each in found["watchers"].items()}
    assert at["oracle"] == 1
    assert at["silent"] == 0
    states = {target["key"]: target["state"] for target in found["targets"]}
    assert states == {
        "T1": "met",
        "T2": "met",
        "T3": "cannot be told",
        "T4": "cannot be told",
        "T5": "met",
        "T6": "met",
        "T7": "missed",
        "T8": "cannot be told",
    }


def test_a_family_that_is_known_to_be_unseen_is_judged(folder: Path) -> None:
    board = score(
        folder, (Oracle(ONSETS),), QUICK, unseen=lambda families: frozenset(families) & {"F4", "F12"}
    )
    target = board.targets[-1]
    assert (target.state, target.figures["recall"]["value"]) == ("met", 1)
    assert "over F4 at" in target.told


def test_thresholds_come_from_other_runs(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    record(other, "q", spiked(30, 700), family="F3")
    record(other, "m", calm(31), family="F12", expected="negative")
    chosen = score(other, (Noise(),), QUICK).thresholds()
    found = score(folder, (Noise(),), QUICK, thresholds=chosen).watchers["noise"].budgets["0.2"]
    assert found.threshold == chosen["noise"]["0.2"]
    assert found.score is not None
    scores = [
        watch.score_R
        for watch in (one.watches["noise"] for one in score(folder, (Noise(),), QUICK).folder.watched)
    ]
    assert found.score.num_false <= sum(int((each > (found.threshold or 0)).sum()) for each in scores)


def test_what_looks_ahead_is_found_out_and_what_does_not_is_not(folder: Path) -> None:
    run = read_record(folder / "x")
    facts, shown = scored_run(run), list(attempts(run))
    assert watch_run(Noise(), facts, shown).num_compared == 900
    assert (
        watch_run(Noise(), facts, shown).leak_row == 0
        or watch_run(Constant(0.3), facts, shown).leak_row is None
    )
    assert watch_run(Peeking(0), facts, shown).leak_row is None
    assert watch_run(Peeking(5), facts, shown).leak_row == 895
    assert watch_run(Peeking(7, in_alarms=True), facts, shown).leak_row == 893


def test_watchers_are_not_shown_what_was_planted(folder: Path) -> None:
    (attempt, block), *rest = attempts(read_record(folder / "x"))
    assert not rest
    assert attempt.context.config == {"connection": "residual"}
    assert len(block) == 1500


def test_attempts_lie_behind_each_other_and_rows_go_on_counting(tmp_path: Path) -> None:
    steps = [*range(1000), *range(900, 1500)]
    losses = np.concatenate([calm(0)[:1000], calm(0)[900:]])
    losses[1300:1315] += 3.0
    fault = {"kind": "bad_batch", "step": 1200}
    numbers = [0] * 1000 + [1] * 600
    event = {"attempt": 1, "step": 950, "kind": "schedule", "detail": {"what": "rate"}}
    folder = record(tmp_path, "r", losses, attempts=numbers, steps=steps, faults=[fault], events=[event])
    run = read_record(folder)
    (first, _), (second, block) = attempts(run)
    assert (first.changes, [change.step for change in second.changes]) == ((), [950])
    assert block.steps[0] == 900
    facts = scored_run(run)
    assert (facts.num_rows, facts.onset, facts.fault_rows) == (1600, 1300, (1300,))
    assert watch_run(Peeking(0), facts, list(attempts(run))).score_R.tolist() == pytest.approx(
        losses.tolist()
    )


def test_two_processes_say_what_one_says(folder: Path) -> None:
    watchers = (ZClip(), Level("loss", "a test", "loss", 3.5))
    one = told(score(folder, watchers, QUICK))
    two = told(score(folder, watchers, ScoringOptions(num_replicates=50, jobs=2)))
    assert one == two


def test_the_command_labels_scores_and_draws(folder: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out.json", tmp_path / "report.html"
    arguments = ("--replicates", 20, "--json", "--out", out, "--report", report)
    status, stdout, stderr = foreshock("score", folder, *arguments)
    assert (status, stderr) == (0, "")
    assert json.loads(stdout) == json.loads(out.read_text())
    assert all((folder / run / "labels.json").is_file() for run in (*ONSETS, "n0", "x"))
    found = json.loads(stdout)
    assert found["judged"] == "foreshock"
    assert {"olmo_7_sigma", "amax_fixed", "schedule_only"} <= found["watchers"].keys()
    assert found["watchers"]["max_logit"]["unpublished"] == "no scored run records what it looks at"
    assert found["watchers"]["foreshock"]["exogenous"]["leaks"] == {}
    page = report.read_text()
    assert "warned in time of 0 of 3 events" in page
    assert "plotly.js" in page and 'src="http' not in page
    status, stdout, _ = foreshock("score", folder, "--replicates", 20)
    assert status == 0
    assert "T5" in stdout and "schedule_only" in stdout


def test_names_of_runs_are_text_in_the_page(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    record(runs, "a", spiked(0, 700), family="<script>alert(1)</script>")
    report = tmp_path / "report.html"
    status, _, _ = foreshock("score", runs, "--replicates", 20, "--json", "--report", report)
    assert status == 0
    assert "<script>alert(1)" not in report.read_text()


def harmed(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda out: None, "holds no recorded runs; record some with"),
        (
            lambda out: record(out, "short", calm(0, 300)),
            "short: the run has 300 steps; runs of 1500 or more",
        ),
        (
            lambda out: harmed(record(out, "torn", calm(0)) / "signals.parquet"),
            r"torn: .*is not what manifest.json vouches for",
        ),
        (lambda out: (record(out, "bad", calm(0)) / "manifest.json").write_text("{"), "is damaged"),
        (
            lambda out: (record(out, "bad", calm(0)) / "manifest.json").write_text("[1]"),
            "format version None",
        ),
    ],
)
def test_a_folder_without_a_run_that_counts_is_refused(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    make(tmp_path)
    with pytest.raises(ScoreError, match=words):
        score(tmp_path, (Constant(0.0),), QUICK)


def test_the_command_refuses_in_one_line(tmp_path: Path) -> None:
    for arguments, words in (
        ((tmp_path,), "holds no recorded runs"),
        ((tmp_path / "nowhere",), "holds no recorded runs"),
        ((tmp_path, "--jobs", 0), "jobs is 0; give 1 or more"),
        ((tmp_path, "--report", tmp_path / "no" / "page.html"), "is no folder; make it"),
    ):
        status, stdout, stderr = foreshock("score", *arguments)
        assert (status, stdout) == (2, "")
        assert stderr.startswith("foreshock scenarios score: ") and words in stderr
        assert stderr.count("\n") == 1


def test_damaged_and_short_runs_are_named_and_the_rest_is_scored(folder: Path) -> None:
    harmed(folder / "n0" / "signals.parquet")
    record(folder, "short", calm(0, 300))
    manifest = json.loads((folder / "n1" / "manifest.json").read_text())
    (folder / "n1" / "labels.json").write_text(json.dumps({"format_version": 1, "sha256": "of another"}))
    board = score(folder, (Constant(0.0),), QUICK)
    assert list(board.folder.damaged) == ["n0"]
    assert list(board.folder.unscored) == ["short"]
    assert json.loads((folder / "n1" / "labels.json").read_text())["sha256"] == manifest["sha256"]
    assert told(board)["runs"]["scored"] == 6


def test_negatives_alone_have_no_recall_and_say_so(tmp_path: Path) -> None:
    for seed in range(2):
        record(tmp_path, f"n{seed}", calm(seed), expected="negative")
    found = told(score(tmp_path, (Noise(), Constant(0.0)), QUICK))
    noise = found["watchers"]["noise"]
    assert noise["published"]["recall"]["value"] is None
    assert noise["published"]["recall"]["why"] == "no scored run has an event that could be foretold"
    assert noise["published"]["false_per_1000"]["value"] is not None
    assert (noise["froc"], noise["molchan"]) == (None, None)
    assert {target["state"] for target in found["targets"]} == {"cannot be told"}


def test_positives_alone_may_have_no_healthy_steps_and_say_so(tmp_path: Path) -> None:
    record(tmp_path, "p", spiked(0, 300))
    found = told(score(tmp_path, (Oracle({"p": 300}),), QUICK))
    oracle = found["watchers"]["oracle"]["published"]
    assert oracle["recall"]["value"] == 1
    assert oracle["false_per_1000"]["why"] == "no scored run has healthy steps"
    assert found["targets"][0]["state"] == "cannot be told"


def test_nothing_but_nan_is_scored_all_the_same(tmp_path: Path) -> None:
    record(tmp_path, "nan", np.full(1500, math.nan), grad_norm=np.full(1500, math.nan))
    status, stdout, _ = foreshock("score", tmp_path, "--json", "--replicates", 20)
    assert status == 0
    assert json.loads(stdout)["runs"]["scored"] == 1


def test_two_watchers_of_one_name_are_refused(folder: Path) -> None:
    with pytest.raises(ScoreError, match="each of a name of its own"):
        score(folder, (Noise(), Noise()))


def test_rankings_are_held_against_varied_labels(tmp_path: Path) -> None:
    onsets = {"p0": 700}
    record(tmp_path, "p0", spiked(0, 700))
    record(tmp_path, "n0", calm(1), expected="negative")
    options = ScoringOptions(num_replicates=20, varied=True)
    found = score(tmp_path, (Oracle(onsets), Constant(0.0)), options).variations
    assert len(found) == 27
    assert all(each.recall["oracle"] == 1 and each.judged_is_first for each in found)


class Cut(Noise):
    """Leaves a step out."""

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        return Watch(super().watch(attempt, blocks).score_S[1:])


def test_a_watcher_that_leaves_steps_out_is_named(folder: Path) -> None:
    with pytest.raises(
        ScoreError, match=r"the watcher noise gave n0 a score_S .* must be float64 and \(1500,\)"
    ):
        score(folder, (Cut(),), QUICK)

"""The shipped scores: whole, honest, and drawn without a machine of anybody's in them."""

import json
from pathlib import Path

import pytest
from tests.dashboards.ship_score import MAX_POINTS, slim

from foreshock.dashboards.benchmark import BENCHMARK_FIGURES, Evaluation, evaluations
from foreshock.dashboards.benchmark.evaluation import FOLDER
from foreshock.dashboards.benchmark.froc import best_so_far
from foreshock.dashboards.figures import resolve


@pytest.mark.parametrize("evaluation", evaluations(), ids=lambda one: one.name)
@pytest.mark.parametrize("name", BENCHMARK_FIGURES)
def test_every_figure_of_every_evaluation_is_plain_and_told_in_words(
    evaluation: Evaluation, name: str
) -> None:
    figure = BENCHMARK_FIGURES[name](evaluation)
    text = json.dumps(figure, allow_nan=False)
    assert "var(--" not in json.dumps(resolve(json.loads(text), "dark"))
    meta = figure["layout"]["meta"]
    assert meta["title"] and meta["reading"] and meta["table"]["rows"] and not meta["empty"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_what_is_shipped_is_small_and_names_no_folder(path: Path) -> None:
    told = json.loads(path.read_text())
    assert path.stat().st_size < 200_000
    assert told["title"] and told["date"] and "directory" not in told
    assert [target["key"] for target in told["targets"]] == [f"T{number}" for number in range(1, 9)]
    assert {target["state"] for target in told["targets"]} <= {"met", "missed", "cannot be told"}


def test_the_verdict_counts_what_is_missed() -> None:
    score = json.loads((FOLDER / "fitted.json").read_text())
    for target in score["targets"]:
        target["state"] = "missed"
    told = Evaluation("x", "t", "2026-01-01", score).verdict()
    assert "Targets met: 0 of 8, missed: 8" in told
    score["runs"]["positive"] = 0
    assert "has an event that could be foretold" in Evaluation("x", "t", "2026-01-01", score).verdict()


def test_a_folder_without_evaluations_has_none(tmp_path: Path) -> None:
    assert evaluations(tmp_path) == ()


def test_slimming_keeps_every_best_point_and_thins_the_rest() -> None:
    estimate = {"value": 0.123456789, "low": None, "high": None, "why": None}
    curve = [place / 999 for place in range(1000)]
    each = {
        "source": "s",
        "num_runs_heard": 3,
        "published": None,
        "budgets": {"0.05": {"recall": estimate, "score": {"long": 1}}},
        "froc": {"thresholds": curve, "false_per_1000": [0.0, 5.0, 1.0], "recall": [0.1, 0.2, 0.3]},
        "molchan": {
            **dict.fromkeys(("alarm_time", "miss_rate", "chance_alarm_time", "chance_miss_rate"), curve),
            "skill": estimate,
        },
        "molchan_by_schedule": None,
        "attribution": {"named": {"run": "x"}},
    }
    slimmed = slim({"directory": "/here", "watchers": {"a": each, "deaf": {**each, "num_runs_heard": 0}}})
    assert "directory" not in slimmed and list(slimmed["watchers"]) == ["a"]
    kept = slimmed["watchers"]["a"]
    assert kept["froc"] == {"false_per_1000": [0.0, 1.0], "recall": [0.1, 0.3]}
    assert len(kept["molchan"]["alarm_time"]) == MAX_POINTS and kept["molchan"]["alarm_time"][-1] == 1.0
    assert kept["budgets"]["0.05"] == {"recall": {**estimate, "value": 0.1235}}
    assert "attribution" not in kept
    assert best_so_far([0.0, 0.0, 1.0], [0.2, 0.4, 0.4]) == [(0.0, 0.4)]

"""Six recorded runs, played into a real collector: what is said of each is what is true of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.dashboards.recorded_run import RUNS, RecordedRun, recorded_runs

pytest.importorskip("foreshock.server.serving", reason="the runs are judged by the real collector")
from tests.dashboards.observatory import Observatory

MAX_BYTES = 300_000
MAX_BYTES_IN_ALL = 1_500_000


class Truth(NamedTuple):
    """What runs/README.md says of a run: its levels, its layer, and where each of the two steps may lie."""

    levels: tuple[str, ...]
    layer: int | None
    since: range | None
    moved: range | None


TRUTHS = {
    "safe": Truth(("safe",), None, None, None),
    "time-bomb": Truth(("risk", "watch"), 0, range(27, 200), range(20, 41)),
    "dying-hc": Truth(("dead",), 0, range(107, 110), range(10, 26)),
    "router-drift": Truth(("risk", "watch"), 2, range(110, 301), range(90, 131)),
    "exogenous-fault": Truth(("safe",), None, None, None),
    "vanishing-signal": Truth(("watch", "risk"), 5, range(200, 401), range(200, 216)),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """The health of each run, and its alerts that have ever fired."""
    observatory = Observatory(tmp_path_factory.mktemp("collector"))
    try:
        found = {}
        for run in recorded_runs():
            run_id = run.play(observatory)
            health = observatory.http.get(f"/api/v1/runs/{run_id}/health").json()
            alerts = observatory.http.get("/api/v1/alerts", params={"run": run_id}).json()["alerts"]
            fired = [one for one in alerts if one["fired_step"] is not None and one["severity"] != "info"]
            found[run.name] = {**health, "fired": fired}
        yield found
    finally:
        observatory.close()


def test_six_runs_ship_and_are_small() -> None:
    sizes = {run.name: _size(RUNS / run.name) for run in recorded_runs()}
    assert sizes.keys() == TRUTHS.keys()
    assert max(sizes.values()) < MAX_BYTES and sum(sizes.values()) < MAX_BYTES_IN_ALL


@pytest.mark.parametrize("name", TRUTHS)
def test_health_says_what_is_true(name: str, told: dict[str, dict[str, Any]]) -> None:
    health, truth = told[name], TRUTHS[name]
    assert health["level"] in truth.levels, health["sentence"]
    assert health.get("layer") == truth.layer, health["sentence"]
    assert _lies_in(health.get("since_step"), truth.since), health["sentence"]
    assert _lies_in(health.get("moved_since"), truth.moved), health["sentence"]


def test_nothing_fires_for_the_safe_run(told: dict[str, dict[str, Any]]) -> None:
    assert told["safe"]["fired"] == []


def test_a_fault_of_the_data_is_told_as_one(told: dict[str, dict[str, Any]]) -> None:
    (spike,) = told["exogenous-fault"]["fired"]
    assert (spike["rule"], spike["state"], spike["layer"]) == ("loss_spike", "resolved", None)
    assert 900 <= spike["fired_step"] <= 905
    assert "No layer moves" in told["exogenous-fault"]["sentence"]
    assert "Look at the data of that step." in told["exogenous-fault"]["sentence"]


def test_a_death_is_foretold(told: dict[str, dict[str, Any]]) -> None:
    early = [one for one in told["dying-hc"]["fired"] if one["fired_step"] <= 108 - 50]
    assert {"spike_ahead"} <= {one["rule"] for one in early}


def test_a_vanishing_signal_is_called_by_its_name(told: dict[str, dict[str, Any]]) -> None:
    assert told["vanishing-signal"]["rule"] == "vanishing"


@pytest.mark.parametrize("run", recorded_runs(), ids=lambda run: run.name)
def test_a_run_tells_attention_output_and_optimizer(run: RecordedRun) -> None:
    columns = {column for stream in run.streams for column in stream.columns}
    assert {"max_attention_logit[0]", "log_z_mean", "update_ratio", "stream_rms[0]"} <= columns


def _lies_in(step: int | None, steps: range | None) -> bool:
    return step is None if steps is None else step in steps


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())

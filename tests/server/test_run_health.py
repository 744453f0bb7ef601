"""Health as the collector tells it, of one run and of lists."""

import time
from typing import Any

import pytest
from tests.dashboards.observatory import Observatory, populate


@pytest.fixture(scope="module")
def observatory(tmp_path_factory: pytest.TempPathFactory) -> Any:
    observatory = Observatory(tmp_path_factory.mktemp("collector"))
    try:
        populate(observatory)
        yield observatory
    finally:
        observatory.close()


def health(observatory: Observatory, run_id: str) -> dict[str, Any]:
    answer = observatory.http.get(f"/api/v1/runs/{run_id}/health")
    answer.raise_for_status()
    return dict(answer.json())


def test_a_run_at_risk_names_layer_and_steps(observatory: Observatory) -> None:
    told = health(observatory, "hc-0")
    assert (told["level"], told["sign"], told["layer"], told["step"]) == ("risk", "!", 0, 139)
    # Layer 0 grows by 0.0042 * 1.15 * 3 a step from step 25 on, and so leaves 1.1 some 7 steps later
    assert 28 <= told["moved_since"] <= 34
    assert told["since_step"] > told["moved_since"] and told["advice"]
    assert f"Layer 0 moves most, since step {told['moved_since']}:" in told["sentence"]


def test_a_dead_run_names_the_layer_that_had_moved(observatory: Observatory) -> None:
    told = health(observatory, "hc-2")
    assert (told["level"], told["word"], told["since_step"]) == ("dead", "Diverged at step 200", 200)
    assert told["layer"] == 0 and told["moved_since"] < 60
    assert "had warned at step" in told["sentence"]


def test_a_list_tells_the_health_of_each_run_without_its_numbers(observatory: Observatory) -> None:
    for _ in range(300):
        listed = observatory.http.get("/api/v1/runs").json()["runs"]
        levels = {run["run_id"]: run["health"]["level"] for run in listed}
        if "unknown" not in levels.values():
            break
        time.sleep(0.1)
    assert levels == {
        "hc-0": "risk",
        "hc-1": "dead",
        "hc-2": "dead",
        "mhc-0": "safe",
        "mhc-1": "safe",
        "mhc-2": "safe",
    }
    assert {run["run_id"]: run["health"]["layer"] for run in listed}["hc-0"] == 0


def test_a_run_that_is_not_there_is_a_problem(observatory: Observatory) -> None:
    answer = observatory.http.get("/api/v1/runs/nobody/health")
    assert answer.status_code == 404 and answer.json()["type"] == "/problems/unknown-run"


def test_a_run_without_a_step_has_no_data_yet(observatory: Observatory) -> None:
    observatory.trainer("waiting", "mhc", 1)
    assert health(observatory, "waiting")["word"] == "No data yet"

"""Groups of seeds on common steps."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer

from foreshock.server.store.compare import band


@pytest.fixture
def seeds(http: TestClient, writer: Writer):
    """Three HC seeds of which one dies, two mHC seeds, one run without a connection."""
    for seed in range(3):
        one = type(writer)(http, f"hc-{seed}")
        one.start(
            "loss", "stream_rms[0]", "stream_rms[1]", config={"connection": "hc"}, seed=seed, tags=["x"]
        )
        num_steps = 4 if seed == 0 else 8
        steps = np.arange(num_steps)
        one.send(one.batch(steps, np.stack([steps + seed, steps * 0 + 2.0, steps * 0 + 8.0], 1)))
    for seed in range(2):
        one = type(writer)(http, f"mhc-{seed}")
        one.start("loss", config={"connection": "mhc"}, seed=seed, tags=["x", "y"])
        one.send(one.batch(range(8), [seed] * 8))
    type(writer)(http, "plain").start()
    return http


def compare(http: TestClient, **query: Any):
    answer = http.get("/api/v1/compare", params={"project": "demo", **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_seeds_lie_on_common_steps_with_mean_and_interval(seeds: TestClient) -> None:
    found = compare(seeds, column="loss")
    hc, mhc = found["groups"]
    assert (hc["key"], mhc["key"], found["num_ungrouped"], found["scale"]) == ("hc", "mhc", 1, "linear")
    assert [run["run_id"] for run in hc["runs"]] == ["hc-0", "hc-1", "hc-2"]
    assert hc["first_step"] == list(range(8))
    assert hc["seeds"][0]["values"] == [0, 1, 2, 3, "NaN", "NaN", "NaN", "NaN"]
    assert hc["mean"][:5] == [1, 2, 3, 4, 5.5]
    reach = stats.t.ppf(0.975, 2) * np.std([0, 1, 2], ddof=1) / np.sqrt(3)
    assert hc["low"][0] == pytest.approx(1 - reach) and hc["high"][0] == pytest.approx(1 + reach)
    assert (hc["low"][5], hc["high"][5]) == (6, 7)
    assert (mhc["mean"][0], mhc["low"][0], mhc["high"][0]) == (0.5, 0, 1)


@pytest.mark.parametrize(("reduce", "value"), [("max", 8.0), ("mean", 5.0), ("last", 8.0)])
def test_layers_are_reduced(seeds: TestClient, reduce: str, value: Any) -> None:
    found = compare(seeds, column="stream_rms", reduce=reduce)
    assert found["scale"] == "log"
    assert found["groups"][0]["mean"][0] == pytest.approx(value)


def test_the_numbers_seeds_are_compared_by(seeds: TestClient) -> None:
    run = compare(seeds, column="loss")["groups"][0]["runs"][0]
    assert run["final_loss"] == pytest.approx(1.5) and run["log_peak_gain"] is None
    assert (run["seed"], run["last_step"], run["state"]) == (0, 3, "running")


@pytest.mark.parametrize(
    ("group_by", "keys"), [("tag", ["x", "y"]), ("group", []), ("state", ["running"]), ("nothing", [])]
)
def test_runs_group_by_config_tag_group_or_state(seeds: TestClient, group_by: str, keys: list[str]) -> None:
    assert [group["key"] for group in compare(seeds, group_by=group_by, column="loss")["groups"]] == keys


def test_another_group_does_not_change_this_one(seeds: TestClient, writer: Writer) -> None:
    before = compare(seeds, column="loss", buckets=4)["groups"][0]
    other = type(writer)(seeds, "other")
    other.start("loss", config={"connection": "residual"})
    other.send(other.batch(range(3, 6), [1e9] * 3))
    assert compare(seeds, column="loss", buckets=4)["groups"][0] == before


def test_a_spike_of_one_seed_is_seen_in_wide_buckets(http: TestClient, writer: Writer) -> None:
    writer.start("composite_amax_forward_max[0]", config={"connection": "hc"})
    values = np.ones(1000)
    values[417] = 3000.0
    writer.send(writer.batch(range(1000), values))
    found = compare(http, buckets=10)
    assert max(found["groups"][0]["mean"]) == pytest.approx(3000.0)


def test_a_band_on_a_log_scale_is_geometric() -> None:
    values = np.array([[1.0, np.nan, 1.0], [10.0, np.nan, np.inf], [100.0, np.nan, -1.0]])
    mean, low, high = band(values, "log")
    assert mean[0] == pytest.approx(10.0) and low[0] * high[0] == pytest.approx(100.0)
    assert np.isnan([mean[1], low[1], high[1]]).all()
    assert (mean[2], low[2], high[2]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("query", ["reduce=sum", "buckets=0", "column=a%20b", "group_by=", "extra=1"])
def test_comparisons_are_bounded(http: TestClient, problem: Problem, query: str) -> None:
    problem(http.get(f"/api/v1/compare?{query}"), 422, "invalid")


def test_some_runs_are_compared_one_by_one(seeds: TestClient) -> None:
    found = compare(seeds, column="loss", group_by="run", run=["hc-1", "mhc-0", "nobody"])
    assert [group["key"] for group in found["groups"]] == ["hc-1", "mhc-0"]
    assert found["groups"][0]["mean"][0] == 1 and found["num_left_out"] == 0
    assert {"seeds", "timelines"} <= set(found["figures"])
    both = compare(seeds, column="loss", group_by="connection", run=["hc-1", "hc-2"])
    assert [run["run_id"] for run in both["groups"][0]["runs"]] == ["hc-1", "hc-2"]

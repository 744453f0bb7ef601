"""Thumbnails over HTTP: of what is stored, held until a run trains on."""

from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer

from foreshock.server.api import sparks


def sparks_of(http: TestClient, *run_ids: str) -> dict[str, Any]:
    answer = http.get("/api/v1/sparks", params={"run": list(run_ids)})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["sparks"]
    return found


def test_a_spark_is_drawn_anew_only_when_the_run_has_trained_on(
    http: TestClient, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    draw = sparks.spark
    monkeypatch.setattr(sparks, "spark", lambda run: drawn.append(run.run_id) or draw(run))
    writer.start("loss", "layer_amax_forward_mean[0]", "layer_amax_forward_mean[1]")
    steps = np.arange(20)
    gains = np.where(steps < 10, 1.0, 20.0)
    writer.send(writer.batch(steps, np.stack([steps * 0 + 2.0, steps * 0 + 1.0, gains], 1)))
    other = type(writer)(http, "bare").start("loss")
    other.send(other.batch([0, 1, 2], [3.0, float("nan"), 1.0]))
    for _ in range(2):
        found = sparks_of(http, "run-1", "bare", "run-1")
        assert found["run-1"]["rows"] == ["4" * 20, "4" * 10 + "8" * 10]
        assert "layer 1" in found["run-1"]["told"] and found["run-1"]["last_step"] == 19
        assert found["bare"]["kind"] == "loss" and found["bare"]["rows"] == ["8x0"]
    assert sorted(drawn) == ["bare", "run-1"]
    writer.send(writer.batch([20], [[2.0, 1.0, float("nan")]]))
    assert sparks_of(http, "run-1")["run-1"]["rows"][1].endswith("8x")
    assert len(drawn) == 3


def test_what_is_asked_for_is_bounded_and_must_be_there(
    http: TestClient, writer: Writer, problem: Problem
) -> None:
    writer.declare()
    assert sparks_of(http, "run-1")["run-1"]["kind"] == "none"
    problem(http.get("/api/v1/sparks"), 422, "invalid")
    problem(http.get("/api/v1/sparks", params={"run": ["r"] * 101}), 422, "invalid")
    problem(http.get("/api/v1/sparks", params={"run": ["run-1", "nobody"]}), 404, "unknown-run")


def test_the_benchmark_is_told_with_its_figures(http: TestClient, problem: Problem) -> None:
    told = http.get("/api/v1/benchmark").json()
    assert told["shown"]["name"] == told["evaluations"][0]["name"]
    assert [one["key"] for one in told["shown"]["score"]["targets"]] == [f"T{n}" for n in range(1, 9)]
    figure = http.get("/api/v1/benchmark/figures/froc").json()
    assert figure["layout"]["meta"]["empty"] is False
    problem(http.get("/api/v1/benchmark?evaluation=no"), 404, "unknown-evaluation")
    problem(http.get("/api/v1/benchmark/figures/no"), 404, "unknown-figure")

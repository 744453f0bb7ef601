"""Figures over HTTP: drawn once, cached by what they show."""

import json

import pytest
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer

from foreshock.dashboards.figures import COMPARE_FIGURES, RUN_FIGURES


def strict(text: str):
    """JSON without the words that JSON does not have."""
    return json.loads(text, parse_constant=pytest.fail)


@pytest.fixture
def run(writer: Writer):
    writer.start("loss", "grad_norm", "layer_amax_forward_max[0]", config={"connection": "hc"})
    writer.send(writer.batch([0, 1, 2], [[1, 1, 1], [float("nan"), 2, float("inf")], [0.5, 3, 2]]))
    return writer


@pytest.mark.parametrize("name", RUN_FIGURES)
def test_every_figure_of_a_run_is_plotly_json(http: TestClient, run: Writer, name: str) -> None:
    answer = http.get(f"/api/v1/runs/run-1/figures/{name}?buckets=100")
    assert answer.status_code == 200, answer.text
    assert strict(answer.text).keys() >= {"data", "layout"}


@pytest.mark.parametrize("name", COMPARE_FIGURES)
def test_every_figure_of_a_comparison_is_plotly_json(http: TestClient, run: Writer, name: str) -> None:
    answer = http.get(f"/api/v1/compare/figures/{name}?project=demo&column=loss")
    assert answer.status_code == 200, answer.text
    assert strict(answer.text).keys() >= {"data", "layout"}


def test_a_figure_is_sent_again_only_when_it_changed(http: TestClient, run: Writer) -> None:
    path = "/api/v1/runs/run-1/figures/loss"
    tag = http.get(path).headers["etag"]
    assert http.get(path, headers={"If-None-Match": tag}).status_code == 304
    run.send(run.batch([3], [[9, 9, 9]]))
    newer = http.get(path, headers={"If-None-Match": tag})
    assert newer.status_code == 200 and newer.headers["etag"] != tag


def test_options_reach_the_figure_that_knows_them(http: TestClient, run: Writer, problem: Problem) -> None:
    assert http.get("/api/v1/runs/run-1/figures/gain_map?series=layer_amax_forward_max").status_code == 200
    problem(http.get("/api/v1/runs/run-1/figures/clip?series=layer_amax_forward_max"), 422, "invalid")


def test_unknown_figures_are_problems(http: TestClient, run: Writer, problem: Problem) -> None:
    assert "gain_map" in problem(http.get("/api/v1/runs/run-1/figures/pie"), 404, "unknown-figure")["detail"]
    assert "seeds" in problem(http.get("/api/v1/compare/figures/pie"), 404, "unknown-figure")["detail"]

"""Figures over HTTP: drawn once, cached by what they show."""

import json

import pytest
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer

from foreshock.dashboards.figures import COMPARE_FIGURES, LAYER_FIGURES, RUN_FIGURES
from foreshock.dashboards.figures.patch import MEDIA_TYPE, apply


def strict(text: str):
    """JSON without the words that JSON does not have."""
    return json.loads(text, parse_constant=pytest.fail)


@pytest.fixture
def run(writer: Writer):
    writer.start("loss", "grad_norm", "layer_amax_forward_max[0]", config={"connection": "hc"})
    writer.send(writer.batch([0, 1, 2], [[1, 1, 1], [float("nan"), 2, float("inf")], [0.5, 3, 2]]))
    return writer


@pytest.fixture
def calm(writer: Writer):
    """A run of which the judge has nothing to say."""
    writer.start("loss", "grad_norm")
    writer.send(writer.batch([0, 1, 2], [[1, 1], [0.9, 1], [0.8, 1]]))
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


def test_the_list_of_figures_has_those_that_the_run_can_show(http: TestClient, run: Writer) -> None:
    answer = http.get("/api/v1/runs/run-1/figures").json()
    told = {one["name"]: one for one in answer["figures"]}
    assert {"loss", "gain_map", "clip"} <= told.keys() and not {"headroom", "composite"} & told.keys()
    assert "series" in told["gain_map"]["options"] and told["loss"]["overview"]
    assert [one["name"] for one in answer["families"]] == ["loss", "gains", "optimizer"]
    assert {one["family"] for one in answer["figures"]} == {one["name"] for one in answer["families"]}


def test_a_figure_is_sent_again_only_when_it_changed(http: TestClient, calm: Writer) -> None:
    path = "/api/v1/runs/run-1/figures/loss"
    tag = http.get(path).headers["etag"]
    assert http.get(path, headers={"If-None-Match": tag}).status_code == 304
    calm.send(calm.batch([3], [[0.7, 1]]))
    newer = http.get(path, headers={"If-None-Match": tag})
    assert newer.status_code == 200 and newer.headers["etag"] != tag


def test_options_reach_the_figure_that_knows_them(http: TestClient, run: Writer, problem: Problem) -> None:
    assert http.get("/api/v1/runs/run-1/figures/gain_map?series=layer_amax_forward_max").status_code == 200
    problem(http.get("/api/v1/runs/run-1/figures/clip?series=layer_amax_forward_max"), 422, "invalid")


def test_every_figure_of_a_layer_is_plotly_json(http: TestClient, run: Writer, problem: Problem) -> None:
    path = "/api/v1/runs/run-1/layers/0/figures"
    assert http.get(path).json()["figures"] == [{"name": "gains", "title": "gains of its mapping"}]
    for name in LAYER_FIGURES:
        assert strict(http.get(f"{path}/{name}").text).keys() >= {"data", "layout"}
    assert "gains" in problem(http.get(f"{path}/pie"), 404, "unknown-figure")["detail"]
    problem(http.get("/api/v1/runs/run-1/layers/-1/figures/gains"), 422, "invalid")
    empty = strict(http.get("/api/v1/runs/run-1/layers/99/figures/gains").text)["layout"]["meta"]
    assert empty["empty"] and empty["reading"].startswith("Layer 99 has told nothing")


def test_a_figure_over_time_stands_where_its_steps_were_made(http: TestClient, run: Writer) -> None:
    assert http.get("/api/v1/runs/run-1/figures").json()["axes"] == ["step", "time"]
    figure = strict(http.get("/api/v1/runs/run-1/figures/clip?axis=time&smooth=4").text)
    assert figure["layout"]["xaxis"]["title"]["text"] == "wall time (s)"
    assert figure["layout"]["meta"]["axis"]["steps"] == [0, 1, 2]
    told = strict(http.get("/api/v1/runs/run-1/figures/clip?axis=tokens").text)["layout"]["meta"]
    assert told["reading"].endswith("Over steps: this run tells no tokens.")


@pytest.mark.parametrize("query", ["axis=moon", "smooth=-1", "smooth=nan", "axis=time&around=1&start=2"])
def test_a_view_that_does_not_exist_is_refused(
    http: TestClient, run: Writer, problem: Problem, query: str
) -> None:
    problem(http.get(f"/api/v1/runs/run-1/figures/clip?{query}"), 422, "invalid")


def test_the_difference_is_of_the_two_groups_that_were_named(http: TestClient, problem: Problem) -> None:
    for number, (kind, loss) in enumerate([("a", 1), ("a", 2), ("b", 4), ("b", 6), ("c", 9)]):
        one = Writer(http, f"run-{number}").start("loss", config={"kind": kind})
        one.send(one.batch([0, 1], [loss, loss]))
    path = "/api/v1/compare/figures/difference?group_by=kind&column=loss"
    told = strict(http.get(path).text)["layout"]["meta"]["reading"]
    assert told.startswith("a minus b: -3.5 nat at step 1, Welch's 95 % interval")
    named = strict(http.get(f"{path}&of=c&against=a").text)["layout"]["meta"]["reading"]
    assert named == "c minus a: 7.5 nat at step 1; no interval, of 1 against 2 seeds."
    assert "a, b, c" in problem(http.get(f"{path}&of=zebra"), 422, "invalid")["detail"]
    problem(http.get("/api/v1/compare/figures/seeds?group_by=kind&column=loss&of=a"), 422, "invalid")
    alone = strict(http.get("/api/v1/compare/figures/difference?group_by=absent&column=loss").text)
    assert alone["layout"]["meta"]["empty"]


def test_unknown_figures_are_problems(http: TestClient, run: Writer, problem: Problem) -> None:
    assert "gain_map" in problem(http.get("/api/v1/runs/run-1/figures/pie"), 404, "unknown-figure")["detail"]
    assert "seeds" in problem(http.get("/api/v1/compare/figures/pie"), 404, "unknown-figure")["detail"]


TAKES_PATCHES = {"A-IM": "figure-patch"}


def newer(http: TestClient, path: str, tag: str):
    """What a page gets that has the figure of that tag."""
    return http.get(path, headers=TAKES_PATCHES | {"If-None-Match": tag})


@pytest.mark.parametrize(
    "path",
    [
        *(f"/api/v1/runs/run-1/figures/{name}?buckets=100" for name in RUN_FIGURES),
        "/api/v1/compare/figures/seeds?project=demo&column=loss",
        "/api/v1/compare/figures/timelines?project=demo",
    ],
)
def test_what_changed_since_a_figure_makes_it_the_newer_one(http: TestClient, run: Writer, path: str) -> None:
    whole = http.get(path)
    run.send(run.batch([3, 4], [[0.4, 3, 2], [0.3, 3, float("nan")]]))
    # The judge may open an alert in between
    for _ in range(20):
        changed, now = newer(http, path, whole.headers["etag"]), http.get(path)
        if changed.headers["etag"] == now.headers["etag"]:
            break
    assert changed.headers["etag"] == now.headers["etag"]
    if changed.status_code == 226:
        assert changed.headers["content-type"] == MEDIA_TYPE
        assert changed.headers["im"] == "figure-patch"
        assert changed.headers["delta-base"] == whole.headers["etag"]
        assert len(changed.content) < len(now.content)
        assert apply(strict(whole.text), strict(changed.text)) == strict(now.text)
    else:
        assert changed.status_code == (304 if now.text == whole.text else 200)


def test_a_long_figure_grows_by_a_small_patch(http: TestClient, calm: Writer) -> None:
    path = "/api/v1/runs/run-1/figures/loss?buckets=400"
    calm.send(calm.batch(range(3, 1000), [[0.7, 1]] * 997))
    whole = http.get(path)
    calm.send(calm.batch([1000], [[0.6, 1]]))
    patch = newer(http, path, whole.headers["etag"])
    assert patch.status_code == 226
    assert len(patch.content) < 0.1 * len(whole.content)
    again = newer(http, path, patch.headers["etag"])
    assert again.status_code == 304


def test_a_figure_that_is_not_known_any_more_comes_whole(http: TestClient, run: Writer) -> None:
    path = "/api/v1/runs/run-1/figures/loss"
    for tag in ('W/"0123456789"', "nonsense", '"', http.get(f"{path}?buckets=2").headers["etag"]):
        answer = newer(http, path, tag)
        assert answer.status_code == 200 and strict(answer.text).keys() >= {"data", "layout"}


def test_a_figure_of_the_same_content_keeps_its_tag(http: TestClient, calm: Writer) -> None:
    path = "/api/v1/runs/run-1/figures/canary"
    tag = http.get(path).headers["etag"]
    calm.send(calm.event("note", 2, text="nothing to draw"))
    assert http.get(path, headers={"If-None-Match": tag}).status_code == 304

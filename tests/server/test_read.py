"""Reading a run back: series, maps, ranks, layouts, attempts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer

from foreshock.server.store.windows import Windows
from foreshock.wire import MISSING
from foreshock.wire.readings import RunReader, Window

pytestmark = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


def series(http: TestClient, *columns: str, **query: Any):
    answer = http.get("/api/v1/runs/run-1/series", params={"column": list(columns), **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_raw_steps_come_back_as_they_were_sent(http: TestClient, writer: Writer) -> None:
    writer.start("loss", "grad_norm")
    writer.send(writer.batch([0, 1, 5], [[1, 10], [2, 20], [3, 30]]))
    found = series(http, "grad_norm", "loss", "no_such")
    assert found["bucket_width"] == 1 and found["attempt"] == 0
    assert [one["column"] for one in found["series"]] == ["grad_norm", "loss"]
    grad_norm = found["series"][0]
    assert grad_norm["first_step"] == grad_norm["last_step"] == [0, 1, 5]
    assert grad_norm["mean"] == grad_norm["min"] == grad_norm["max"] == [10, 20, 30]
    assert grad_norm["count"] == [1, 1, 1]


def test_a_window_gets_whole_buckets(http: TestClient, writer: Writer) -> None:
    writer.start()
    writer.send(writer.batch(range(100), np.arange(100.0)))
    found = series(http, "loss", start=10, stop=49, buckets=10)
    assert found["bucket_width"] == 8
    assert found["series"][0]["first_step"] == [8, 16, 24, 32, 40, 48]
    assert found["series"][0]["last_step"][-1] == 55
    assert found["series"][0]["max"][0] == 15.0


def test_a_live_page_sees_new_batches(http: TestClient, writer: Writer) -> None:
    writer.start()
    expected = []
    for start in range(0, 5000, 250):
        values = np.sin(np.arange(start, start + 250.0)).astype(np.float32)
        expected += values.tolist()
        writer.send(writer.batch(range(start, start + 250), values))
        found = series(http, "loss", buckets=5000)["series"][0]
        assert found["last"] == expected


def test_attempts_are_read_apart(http: TestClient, writer: Writer) -> None:
    writer.start()
    writer.send(writer.batch([0, 1], [1.0, 2.0]))
    writer.attempt, writer.next_sequence = 1, 0
    writer.start()
    writer.send(writer.batch([1], [5.0]))
    assert series(http, "loss")["series"][0]["mean"] == [5.0]
    assert series(http, "loss", attempt=0)["series"][0]["mean"] == [1.0, 2.0]
    assert http.get("/api/v1/runs/run-1/series?column=loss&attempt=7").status_code == 404


def test_ranks_join_as_the_catalogue_says(http: TestClient, writer: Writer) -> None:
    columns = ("loss", "grad_norm", "clip_coefficient", "my_own")
    writer.start(*columns)
    other = type(writer)(http, rank=1, session="session-2").start(*columns)
    writer.send(writer.batch([0, 1], [[1, 1, 1, 1], [1, 1, 1, np.nan]]))
    other.send(other.batch([0, 1, 2], [[3, 3, 3, 3], [np.nan, 3, 3, 3], [9, 9, 9, 9]]))
    found = {one["column"]: one["last"] for one in series(http, *columns)["series"]}
    assert found == {
        "loss": [2.0, "NaN", 9.0],
        "grad_norm": [3.0, 3.0, 9.0],
        "clip_coefficient": [1.0, 1.0, 9.0],
        "my_own": [2.0, "NaN", 9.0],
    }
    assert http.get("/api/v1/runs/run-1/latest").json()["values"]["grad_norm"] == 9.0


def test_a_column_that_moves_to_another_layout_stays_one_series(http: TestClient, writer: Writer) -> None:
    writer.start("loss")
    writer.send(writer.batch([0, 1], [1.0, 2.0]))
    writer.send(writer.layout("grad_norm", "loss", layout_id=1), writer.batch([2, 3], [[7, 3], [7, 4]], 1))
    assert series(http, "loss")["series"][0]["mean"] == [1.0, 2.0, 3.0, 4.0]


def test_a_value_that_was_not_measured_is_no_value_and_no_nan(http: TestClient, writer: Writer) -> None:
    writer.start("loss", "grad_norm")
    values = np.array([[1, 5], [np.nan, 0], [3, 0]], np.float32)
    values[1:, 1] = MISSING
    writer.send(writer.batch([0, 1, 2], values))
    loss, grad_norm = series(http, "loss", "grad_norm")["series"]
    assert (loss["first_step"], loss["nonfinite"]) == ([0, 1, 2], [0, 1, 0])
    assert (grad_norm["first_step"], grad_norm["nonfinite"]) == ([0], [0])
    latest = http.get("/api/v1/runs/run-1/latest").json()
    assert latest["values"] == {"loss": 3.0, "grad_norm": 5.0} and latest["step"] == 2


def test_a_map_has_a_row_for_each_layer(http: TestClient, writer: Writer) -> None:
    writer.start("layer_amax_forward_max[0]", "layer_amax_forward_max[2]")
    writer.send(writer.batch(range(8), [[step, -step] for step in range(8)]))
    found = http.get("/api/v1/runs/run-1/map?series=layer_amax_forward_max&buckets=4").json()
    assert (found["layers"], found["bucket_width"], found["first_step"]) == (3, 2, [0, 2, 4, 6])
    assert found["max"] == [[1, 3, 5, 7], ["NaN"] * 4, [0, -2, -4, -6]]
    assert found["min"][2] == [-1, -3, -5, -7]
    assert found["mean"][0] == [0.5, 2.5, 4.5, 6.5]


def test_a_map_of_layers_with_different_steps_lies_on_one_grid(http: TestClient, writer: Writer) -> None:
    writer.start("stream_rms[0]")
    writer.send(writer.layout("stream_rms[1]", layout_id=1, stream="composite"))
    writer.send(writer.batch(range(4), np.arange(4.0)), writer.batch([0, 3], [5, 6], layout_id=1))
    found = http.get("/api/v1/runs/run-1/map?series=stream_rms").json()
    # What a layer was told of earlier is held, and said to be old
    assert found["max"] == [[0, 1, 2, 3], [5, 5, 5, 6]]
    assert found["age"] == [[0, 0, 0, 0], [0, 1, 2, 0]]


def test_a_map_of_no_layers_is_unknown(http: TestClient, writer: Writer, problem: Problem) -> None:
    writer.start("loss")
    problem(http.get("/api/v1/runs/run-1/map?series=loss"), 404, "unknown-series")


@pytest.mark.parametrize(
    "query",
    [
        "series",
        "series?column=a%20b",
        "series?column=" + "x" * 131,
        "series?" + "&".join(["column=loss"] * 101),
        "series?column=loss&buckets=100001",
        "series?column=loss&column=a&column=b&buckets=400000",
        "series?column=loss&around=5&start=3",
        "series?column=loss&reach=-1",
        "quantiles?series=a&quantile=1.5",
        "quantiles?series=a&quantile=nan",
        "quantiles?series=a&of=median",
        "series?column=loss&start=-1",
        "series?column=loss&colour=red",
        "map?series=loss[",
        "map",
    ],
)
def test_questions_are_bounded(http: TestClient, writer: Writer, problem: Problem, query: str) -> None:
    writer.start()
    problem(http.get(f"/api/v1/runs/run-1/{query}"), 422, "invalid")


def test_events_are_told_in_order(http: TestClient, writer: Writer) -> None:
    writer.start()
    writer.send(writer.event("schedule", 10, learning_rate=0.1), writer.event("note", 12, text="hello"))
    told = http.get("/api/v1/runs/run-1/events").json()["events"]
    assert [(event["kind"], event["step"]) for event in told] == [("schedule", 10), ("note", 12)]
    assert told[1]["detail"] == {"text": "hello"}


def test_a_run_without_numbers_answers(http: TestClient, writer: Writer) -> None:
    writer.declare()
    assert series(http, "loss")["series"] == []
    assert http.get("/api/v1/runs/run-1/latest").json() == {"step": -1, "time": 0.0, "values": {}}
    writer.send(writer.layout("loss"))
    assert series(http, "loss")["series"][0]["count"] == []


def test_the_store_is_a_run_reader(http: TestClient, writer: Writer) -> None:
    writer.start("loss", "stream_rms[0]")
    reader: RunReader = http.app.state.collector.run("run-1")
    assert reader.columns() == ("loss", "stream_rms[0]")
    assert reader.layer_map("loss", Window()) is None
    assert reader.alerts() == []


@given(cuts=st.lists(st.integers(1, 400), max_size=8, unique=True), place=st.integers(0, 399))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_spike_is_seen_however_batches_were_cut_and_whatever_the_cache_holds(
    http: TestClient, writer: Writer, cuts: list[int], place: int
) -> None:
    """Each example is an attempt of its own; a cache too small for anything must not change an answer."""
    values = np.ones(400, np.float32)
    values[place] = 1e9
    writer.attempt, writer.next_sequence = writer.attempt + 1, 0
    writer.start()
    for low, high in zip([0, *sorted(cuts)], [*sorted(cuts), 400], strict=True):
        if low < high:
            writer.send(writer.batch(range(low, high), values[low:high]))
    collector = http.app.state.collector
    for cache in (collector.windows, Windows(1)):
        collector.windows = cache
        for buckets in (1, 7, 400):
            assert max(series(http, "loss", buckets=buckets)["series"][0]["max"]) == 1e9
    collector.windows = Windows(2**20)


def test_a_value_is_held_for_no_longer_than_until_all_layers_are_told_again(
    http: TestClient, writer: Writer
) -> None:
    writer.start("stream_rms[0]")
    writer.send(writer.layout("stream_rms[1]", layout_id=1, stream="composite"))
    writer.send(writer.batch(range(14), np.arange(14.0)), writer.batch([1], [5], layout_id=1))
    found = http.get("/api/v1/runs/run-1/map?series=stream_rms").json()
    assert found["age"][1] == [-1, *range(10), -1, -1, -1]
    assert found["max"][1] == ["NaN", *[5] * 10, "NaN", "NaN", "NaN"]


def test_the_newest_value_of_a_layer_that_newer_batches_leave_out_is_found(
    http: TestClient, writer: Writer
) -> None:
    writer.start("stream_rms[0]", "stream_rms[1]", "loss")
    for step in range(13):
        missing = float(MISSING[0])
        rows = [[float(step)], [10.0 + step if step in (0, 4) else missing], [missing]]
        writer.send(writer.batch([step], np.array(rows, np.float32)))
    latest = http.get("/api/v1/runs/run-1/latest").json()
    assert (latest["step"], latest["values"]) == (12, {"stream_rms[0]": 12.0, "stream_rms[1]": 14.0})
    for asked, told in (("stream_rms", latest["values"]), ("stream", {}), ("stream_rms[0]", {})):
        some = http.get("/api/v1/runs/run-1/latest", params={"series": asked}).json()
        assert (some["step"], some["values"]) == (12, told)


def test_a_window_around_a_step(http: TestClient, writer: Writer) -> None:
    writer.start()
    writer.send(writer.batch(range(1000), np.arange(1000.0)))
    found = series(http, "loss", around=500, reach=3)["series"][0]
    assert found["first_step"] == list(range(497, 504))
    assert series(http, "loss", around=1, reach=3)["series"][0]["first_step"] == [0, 1, 2, 3, 4]


def test_several_runs_come_in_buckets_of_one_width(
    http: TestClient, writer: Writer, problem: Problem
) -> None:
    writer.start()
    writer.send(writer.batch(range(100), np.arange(100.0)))
    other = Writer(http, run_id="run-2").start("loss", "a")
    other.send(other.batch(range(0, 1000, 10), [[step, 1] for step in range(100)]))
    query = {"run": ["run-2", "run-1"], "column": ["loss", "a"], "buckets": 50}
    found = http.get("/api/v1/series", params=query).json()
    assert found["bucket_width"] == 32
    assert [run["run_id"] for run in found["runs"]] == ["run-2", "run-1"]
    assert [len(run["series"]) for run in found["runs"]] == [2, 1]
    assert found["runs"][1]["unknown"] == ["a"]
    assert found["runs"][1]["series"][0]["first_step"] == [0, 32, 64, 96]
    missing = http.get("/api/v1/series", params={**query, "run": ["run-1", "run-3"]})
    assert "run-3" in problem(missing, 404, "unknown-run")["detail"]
    many = http.get("/api/v1/series", params={**query, "run": ["run-1"] * 50, "buckets": 20000})
    assert "at most 1000000" in problem(many, 422, "invalid")["detail"]


def test_quantiles_over_layers_are_values_of_layers(
    http: TestClient, writer: Writer, problem: Problem
) -> None:
    writer.start(*(f"stream_rms[{layer}]" for layer in range(5)), "loss")
    rows = [
        [5, 1, 4, 2, 3, 0],
        [5, np.nan, 4, np.inf, -np.inf, 0],
        [5, MISSING[0], MISSING[0], 2, MISSING[0], 0],
        [np.nan] * 5 + [0],
    ]
    writer.send(writer.batch(range(4), rows))
    query = {"series": "stream_rms", "quantile": [0, 0.5, 0.8, 1]}
    found = http.get("/api/v1/runs/run-1/quantiles", params=query).json()
    assert found["first_step"] == [0, 1, 2, 3] and found["bucket_width"] == 1
    assert found["layers"] == [5, 5, 2, 5] and found["nan"] == [0, 1, 0, 5]
    by_step = list(zip(*found["values"], strict=True))
    assert by_step == [
        (1, 3, 4, 5),
        ("-Infinity", 4, "Infinity", "Infinity"),
        (2, 2, 5, 5),
        ("NaN",) * 4,
    ]
    mean = http.get("/api/v1/runs/run-1/quantiles?series=stream_rms&of=mean&buckets=1&quantile=1").json()
    assert mean["values"] == [[5]]
    problem(http.get("/api/v1/runs/run-1/quantiles?series=nothing"), 404, "unknown-series")

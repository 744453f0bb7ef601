"""/metrics: live runs' gauges and the collector's own counters."""

import math
import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from tests.conftest import require
from tests.server.conftest import Writer

from foreshock.server.app import create_app
from foreshock.server.settings import Settings

COLUMNS = (
    "loss",
    "grad_norm",
    "canary_gain",
    "headroom_bits",
    *(f"layer_amax_{way}_mean[{layer}]" for way in ("forward", "backward") for layer in range(3)),
    *(f"composite_amax_{way}_mean[{layer}]" for way in ("forward", "backward") for layer in range(3)),
)
VALUES = (2.5, float("inf"), 1.25, 9.5, 1.0, 1.5, 2.0, 1.0, 1.0, 3.0, 1.0, 1.5, 3.0, 9.0, 9.0, float("nan"))


def samples(http: TestClient):
    text = http.get("/metrics").text
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(http: TestClient, name: str, **labels: str):
    found = [s.value for s in samples(http) if s.name == name and labels.items() <= s.labels.items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


@pytest.fixture
def live(http: TestClient, writer: Writer):
    writer.start(*COLUMNS)
    writer.send(writer.batch([7], [VALUES]))
    return http


def test_a_live_run_shows_its_newest_values(live: TestClient) -> None:
    of_run = {"run_id": "run-1", "run": "run-1", "project": "demo"}
    assert value(live, "foreshock_loss", **of_run) == 2.5
    assert math.isinf(value(live, "foreshock_grad_norm", **of_run))
    assert value(live, "foreshock_last_step", **of_run) == 7
    assert value(live, "foreshock_canary_gain", **of_run) == 1.25
    assert value(live, "foreshock_headroom_doublings", **of_run) == 9.5
    assert value(live, "foreshock_layer_gain_worst", direction="forward", **of_run) == 2.0
    assert value(live, "foreshock_layer_gain_worst", direction="backward", **of_run) == 3.0
    assert value(live, "foreshock_layer_gain", direction="forward", percentile="50", **of_run) == 1.5
    assert value(live, "foreshock_composite_gain_worst", direction="forward", **of_run) == 3.0
    assert math.isnan(value(live, "foreshock_composite_gain_worst", direction="backward", **of_run))


def test_layers_are_told_by_their_worst(http: TestClient, writer: Writer) -> None:
    routers = {"router_entropy": (0.9, 0.2), "router_dead_experts": (0.1, 0.4), "stream_max": (5.0, 7.0)}
    columns = {
        f"{name}[{layer}]": value for name, both in routers.items() for layer, value in enumerate(both)
    }
    plain = {"learning_rate": 0.5, "clip_coefficient": 0.25, "adam_rms": 3.0, "update_ratio": 0.125}
    writer.start(*columns, *plain)
    writer.send(writer.batch([7], [[*columns.values(), *plain.values()]]))
    assert value(http, "foreshock_router_entropy_worst") == pytest.approx(0.2)
    assert value(http, "foreshock_router_dead_experts_worst") == pytest.approx(0.4)
    assert value(http, "foreshock_stream_worst") == 7
    for name, expected in plain.items():
        assert value(http, f"foreshock_{name}") == expected
    assert not [sample for sample in samples(http) if sample.name == "foreshock_router_staleness_worst"]


def test_a_finished_run_leaves_the_page(live: TestClient, writer: Writer) -> None:
    writer.send(writer.event("finished", 8))
    assert not [sample for sample in samples(live) if sample.labels.get("run_id")]
    assert value(live, "foreshock_live_runs") == 0


def test_runs_over_the_bound_are_counted_not_shown(settings: Settings, writer_of: type[Writer]) -> None:
    bounded = settings.model_copy(update={"max_live_runs": 2})
    with TestClient(create_app(bounded), base_url="http://127.0.0.1:8787") as http:
        for number in range(5):
            writer_of(http, run_id=f"run-{number}").start()
        assert len([s for s in samples(http) if s.name == "foreshock_last_step"]) == 2
        assert value(http, "foreshock_live_runs") == 5
        assert value(http, "foreshock_live_runs_truncated") == 3


def test_the_collector_counts_what_it_does(live: TestClient, writer: Writer) -> None:
    body = writer.body(writer.batch([8, 9], [VALUES, VALUES]))
    writer.post(body)
    writer.post(body)
    writer.send(writer.tombstone(3, 30))
    writer.post(b"nonsense")
    assert value(live, "foreshock_points_total") == 3 * len(COLUMNS)
    assert value(live, "foreshock_records_total") == 4
    assert value(live, "foreshock_duplicates_total") == 1
    assert value(live, "foreshock_lost_frames_total") == 30
    assert value(live, "foreshock_appends_total", result="stored") == 5
    assert value(live, "foreshock_appends_total", result="malformed") == 1
    assert value(live, "foreshock_append_duration_seconds_count") == 5
    assert value(live, "foreshock_stored_bytes_total") == sum(map(len, writer.sent))
    assert value(live, "foreshock_waiting_appends") == 0


@pytest.mark.prometheus
def test_promtool_is_content(live: TestClient) -> None:
    require(shutil.which("promtool") is not None, "promtool")
    text = live.get("/metrics").text
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")

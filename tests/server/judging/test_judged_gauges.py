"""/metrics: what the judge says of live runs."""

import re
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.server.judging.bench import HC, judge_all, write

pytestmark = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
HORIZONS = {"20", "100", "5%", "10%"}


def gauge(http, name, label=None):
    """The gauge's values by one label, or the only one there is."""
    text = http.get("/metrics").text
    families = text_string_to_metric_families(text)
    found = [sample for family in families for sample in family.samples if sample.name == name]
    if label is not None:
        return {sample.labels[label]: sample.value for sample in found}
    return [sample.value for sample in found]


def test_a_run_that_heads_for_trouble_says_so_before_its_loss_does(bench, http, writer, dying):
    stretches = write(writer, dying[:100], [30], **HC)
    next(stretches)
    bench.turns(2)
    early = gauge(http, "foreshock_forecast_risk", "horizon")
    assert gauge(http, "foreshock_health") == [0]
    next(stretches)
    bench.turns(2)
    late = gauge(http, "foreshock_forecast_risk", "horizon")
    assert early.keys() == late.keys() == HORIZONS
    assert all(early[horizon] < late[horizon] <= 1 for horizon in HORIZONS)
    left = gauge(http, "foreshock_steps_to_limit", "limit")
    # fp16 ends near step 118; the pace is that of the last windows
    assert left.keys() <= {"headroom", "layer"} and 5 < left["headroom"] < 60
    assert gauge(http, "foreshock_health") == [2]
    assert gauge(http, "foreshock_firing_alerts", "rule")["exit_amax"] == 1


def test_a_run_whose_loss_is_not_finite_has_diverged(bench, http, writer, dying):
    judge_all(bench, writer, dying, **HC)
    assert gauge(http, "foreshock_health") == [3]


def test_a_run_without_steps_has_no_health_and_a_lost_one_is_watched(bench, http, writer):
    writer.start()
    assert gauge(http, "foreshock_health") == []
    writer.send(writer.batch([0, 1, 2], [2.0, 2.0, 2.0]))
    assert gauge(http, "foreshock_health") == [0]
    bench.set("run-1", state="lost")
    assert gauge(http, "foreshock_health") == [1]


def test_the_judges_lag_is_what_it_has_not_read(bench, http, writer, dying):
    list(write(writer, dying[:40], **HC))
    assert gauge(http, "foreshock_judge_lag_steps") == [40]
    bench.turns(2)
    assert gauge(http, "foreshock_judge_lag_steps") == [0]


def test_the_end_of_a_judges_turn_is_dated(http):
    assert gauge(http, "foreshock_judge_turn_timestamp_seconds") == [0]
    http.app.state.collector.judge.turn()
    (turned_at,) = gauge(http, "foreshock_judge_turn_timestamp_seconds")
    assert abs(turned_at - time.time()) < 3600


def test_the_page_tells_free_disk_for_a_file_only(http, backend):
    is_file = not backend.startswith("postgresql")
    assert len(gauge(http, "foreshock_disk_free_bytes")) == is_file


def test_the_page_tells_where_people_reach_the_collector(http):
    assert set(gauge(http, "foreshock_collector_info", "address")) == {"http://127.0.0.1:8787"}


def test_labels_know_no_layers_and_no_steps(bench, http, writer, dying):
    judge_all(bench, writer, dying[:100], **HC)
    families = text_string_to_metric_families(http.get("/metrics").text)
    of_runs = [one for family in families for one in family.samples if "run_id" in one.labels]
    assert len(of_runs) < 80
    own = {"direction", "percentile", "state", "severity", "rule", "horizon", "limit"}
    assert set().union(*(one.labels for one in of_runs)) == {"run_id", "run", "project", *own}


def test_every_metric_is_in_the_readme(http):
    readme = (Path(__file__).parents[3] / "server/README.md").read_text()
    table = readme[readme.index("## Metrics") : readme.index("## Care of the database")]
    names = {
        f"foreshock_{prefix}{middle}{suffix}"
        for prefix, middles, suffix in re.findall(r"`(?:foreshock)?_(\w*)\{?([a-z_,]*)\}?(\w*)", table)
        for middle in (middles.split(",") if suffix else [""])
    }
    families = {
        name.removesuffix("_total")
        for name in re.findall(r"^# TYPE (foreshock_\w+)", http.get("/metrics").text, re.MULTILINE)
    }
    told = {name.removesuffix("_total") for name in names}
    assert {name for name in families if not name.endswith("_created")} <= told

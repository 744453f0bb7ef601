"""Groups of runs judged on a real database, and the restart alert."""

import math

import pytest

from foreshock.server.store.schema import alert_transitions, alerts, outbox

pytestmark = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


def finish_groups(http, writer_type, bench, num=3):
    for key, spread in (("mhc", 0.001), ("hc", 1.0)):
        for seed in range(num):
            writer = writer_type(http, run_id=f"{key}-{seed}", session=f"{key}-{seed}")
            writer.declare(config={"connection": key}, seed=seed, total_steps=60)
            names = ("loss", "composite_amax_forward_mean[0]", "layer_amax_forward_mean[0]")
            writer.send(writer.layout(*names))
            gain = math.exp((0.08 if key == "mhc" else 2.0) + spread * (seed + 1))
            rows = [[2.0 + spread * seed, gain, 1.0]] * 60
            writer.send(writer.batch(range(60), rows), writer.event("finished", step=59))
    bench.turns(4)


def test_groups_of_ended_runs_are_judged_and_the_restart_alert_is_kept(bench, http, writer):
    finish_groups(http, type(writer), bench)
    group = "group:demo/mhc"
    assert [one[:3] for one in bench.told(group)][-1:] == [("restart", "group", "pending")]
    (row,) = bench.rows(alerts, alerts.c.run_id == group)
    assert "stress test" in row["reason"]
    stress = type(writer)(http, run_id="stress", session="s")
    stress.declare(config={"connection": "hc"}, tags=["stress"], total_steps=200)
    stress.send(stress.layout("loss"))
    stress.send(stress.batch(range(20), [1.0] * 5 + [math.nan] * 15), stress.event("finished", step=19))
    bench.turns(4)
    assert bench.told(group)[-1][2] == "firing"
    number = bench.rows(alert_transitions, alert_transitions.c.run_id == group)[-1]["number"]
    assert [row["number"] for row in bench.rows(outbox, outbox.c.run_id == group)] == [number]
    bench.replace()
    before = bench.told(group)
    bench.turns(3)
    assert bench.told(group) == before


def test_the_verdict_is_answered_with_tests_reasons_and_what_is_missing(bench, http, writer):
    finish_groups(http, type(writer), bench)
    verdict = http.get("/api/v1/verdict", params={"project": "demo"}).json()
    assert verdict["state"] == "undecided"
    assert (verdict["constrained"], verdict["baseline"]) == ("mhc", "hc")
    assert set(verdict["tests"]) == {"log_peak_gain", "final_loss"}
    assert verdict["tests"]["log_peak_gain"]["is_weak"]
    assert len(verdict["missing"]) == 1
    other = http.get("/api/v1/verdict", params={"project": "demo", "constrained": "hc", "baseline": "mhc"})
    assert other.json()["state"] == "wait"
    assert http.get("/api/v1/verdict").status_code == 422

"""Runs that fall silent: lost, found again, or long over."""

import math
import time

import msgspec
import numpy as np
import pytest

from foreshock.server.store.schema import detector_states, runs
from foreshock.wire import CLOCK_HEADER, CONTENT_TYPE, make_batch

pytestmark = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


def test_a_silent_run_is_lost_and_found_again(bench, writer):
    writer.start("loss")
    bench.set("run-1", heartbeat_at=bench.clock.now, last_step=5)
    bench.clock.now += 59
    bench.turns(1)
    assert bench.rows(runs)[0]["state"] == "running"
    bench.clock.now += 2
    bench.turns(2)
    assert bench.rows(runs)[0]["state"] == "lost"
    assert bench.told() == [("heartbeat_lost", "heartbeat", "firing", 5)]
    assert ("run", {"run_id": "run-1", "state": "lost"}) in bench.rung
    writer.send()
    bench.turns(2)
    assert bench.rows(runs)[0]["state"] == "running"
    assert bench.told()[-1][2] == "resolved"
    bench.set("run-1", heartbeat_at=bench.clock.now - 61)
    bench.turns(2)
    assert [one[2] for one in bench.told()] == ["firing", "resolved", "firing"]


def test_nobody_is_lost_before_the_collector_has_run_for_the_grace(bench, writer):
    writer.start("loss")
    bench.set("run-1", heartbeat_at=bench.clock.now - 1000)
    bench.clock.now += 59
    bench.turns(1)
    assert bench.told() == []


def test_a_finished_run_is_never_lost(bench, writer):
    writer.start("loss")
    writer.send(writer.event("finished"))
    bench.set("run-1", heartbeat_at=0)
    bench.clock.now += 1000
    bench.turns(2)
    assert bench.told() == []


def timed(writer, step, when):
    values = np.ones((1, 1), np.float32)
    return make_batch(writer.take(), 0, np.array([step]), np.array([when]), values)


def test_a_run_that_died_offline_and_is_synced_later_is_lost_without_an_alert(bench, writer):
    writer.start("loss")
    died_at = time.time() - 3600
    writer.send(timed(writer, 7, died_at))
    (run,) = bench.rows(runs)
    assert run["state"] == "lost" and run["heartbeat_at"] == died_at
    bench.clock.now = time.time() + 1000
    bench.turns(3)
    assert bench.told() == [] and bench.rows(detector_states)[0]["judged_step"] == 7
    # A probe that reconnects sends what it had kept first, and lives as soon as something new comes
    writer.send(timed(writer, 8, time.time()))
    (run,) = bench.rows(runs)
    assert run["state"] == "running" and run["heartbeat_at"] > died_at + 3000


@pytest.mark.parametrize("old", [0.0, math.nan, 2e12])
def test_a_clock_that_was_never_set_calls_nobody_lost(bench, writer, old):
    writer.start("loss")
    writer.send(timed(writer, 0, old))
    assert bench.rows(runs)[0]["state"] == "running"


def test_an_old_run_that_finished_is_finished(bench, writer):
    writer.start("loss")
    last = timed(writer, 7, time.time() - 3001)
    ended = msgspec.structs.replace(writer.event("finished", step=7), time=time.time() - 3000)
    writer.send(last, ended)
    assert bench.rows(runs)[0]["state"] == "finished"


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_probe_whose_clock_is_wrong_lives_where_it_says_what_its_clock_shows(bench, writer, hours):
    writer.start("loss")
    wrong = time.time() + 3600 * hours
    headers = {"Content-Type": CONTENT_TYPE, CLOCK_HEADER: str(wrong)}
    path = f"/api/v1/runs/{writer.run_id}/append"
    assert writer.http.post(path, content=writer.body(timed(writer, 7, wrong)), headers=headers).is_success
    assert bench.rows(runs)[0]["state"] == "running"
    # What it had kept for long is old by its clock too
    kept = writer.body(timed(writer, 8, wrong - 600))
    assert writer.http.post(path, content=kept, headers=headers).is_success
    (run,) = bench.rows(runs)
    assert run["state"] == "lost" and abs(run["heartbeat_at"] - (time.time() - 600)) < 60


@pytest.mark.parametrize("nonsense", ["nan", "inf", "soon", "", "1e400"])
def test_a_clock_that_shows_nonsense_is_as_good_as_none(bench, writer, nonsense):
    writer.start("loss")
    headers = {"Content-Type": CONTENT_TYPE, CLOCK_HEADER: nonsense}
    body = writer.body(timed(writer, 7, time.time()))
    assert writer.http.post(f"/api/v1/runs/{writer.run_id}/append", content=body, headers=headers).is_success
    assert bench.rows(runs)[0]["state"] == "running"

"""The judge on a real database: each thing judged once, by one judge, whatever happens in between."""

import itertools
import math
import threading
import time

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa

from foreshock.server import judge as judge_module
from foreshock.server.judge import Judge, JudgeSettings
from foreshock.server.store import judgement
from foreshock.server.store.schema import alert_transitions, alerts, detector_states, leases, outbox, runs
from foreshock.wire import make_batch

pytestmark = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)

SETTINGS = JudgeSettings(
    interval_seconds=0.0, rank_grace_seconds=30, heartbeat_grace_seconds=60, notifiers=("memory",)
)


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self, now=10_000.0):
        self.now = now

    def __call__(self):
        return self.now


class Bench:
    """A collector's database with a judge that takes its turns by hand."""

    def __init__(self, engine):
        self.engine = engine
        self.clock = Clock()
        self.rung = []
        self.judge = self.replace()

    def replace(self, settings=SETTINGS):
        """A new judge, as after a crash, once the old one's leases have run out."""
        self.clock.now += SETTINGS.lease_seconds + 1
        self.judge = Judge(
            self.engine, settings, lambda name, data: self.rung.append((name, data)), self.clock
        )
        return self.judge

    def turns(self, count=1):
        for _ in range(count):
            self.judge.turn()
            self.clock.now += 0.01

    def rows(self, table, *where):
        order = [column for column in table.primary_key.columns]
        with self.engine.connect() as connection:
            found = connection.execution_options(only_reads=True).execute(
                sa.select(table).where(*where).order_by(*order)
            )
            return [dict(row) for row in found.mappings()]

    def set(self, run_id, **values):
        with self.engine.begin() as connection:
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(values))

    def told(self, run_id="run-1"):
        """(rule, subject, state, step) of every transition, in the order of their numbers."""
        named = {row["alert_id"]: row for row in self.rows(alerts, alerts.c.run_id == run_id)}
        return [
            (named[row["alert_id"]]["rule"], named[row["alert_id"]]["subject"], row["state"], row["step"])
            for row in self.rows(alert_transitions, alert_transitions.c.run_id == run_id)
        ]


@pytest.fixture
def bench(http):
    return Bench(http.app.state.collector.engine)


def columns_of(rows):
    """Columns of the stream of every step, and of the slower one."""
    every = tuple(name for name in rows[1] if not name.startswith("composite"))
    slow = tuple(name for name in rows[0] if name.startswith("composite"))
    return every, slow


def write(writer, rows, cuts=(), first=0, **said):
    """Sends a trace as a probe does: slow streams before the steps that they belong to."""
    every, slow = columns_of(rows)
    if first == 0:
        assert writer.declare(**said).status_code == 200
        layouts = [writer.layout(*every, layout_id=0)]
        if slow:
            layouts.append(writer.layout(*slow, layout_id=1, stream="composite"))
        assert writer.send(*layouts).status_code == 200
    edges = [first, *[cut for cut in cuts if first < cut < len(rows)], len(rows)]
    for start, stop in itertools.pairwise(edges):
        records = []
        steps = [step for step in range(start, stop) if slow and slow[0] in rows[step]]
        if steps:
            values = [[rows[step][name] for name in slow] for step in steps]
            records.append(writer.batch(steps, values, layout_id=1))
        values = [[rows[step][name] for name in every] for step in range(start, stop)]
        records.append(writer.batch(range(start, stop), values, layout_id=0))
        assert writer.send(*records).status_code == 200
        yield stop


HC = {"total_steps": 200, "config": {"connection": "hc"}}


def judge_all(bench, writer, rows, cuts=(), restart=False, **said):
    for _ in write(writer, rows, cuts, **said):
        if restart:
            bench.replace()
        bench.turns(2)


@pytest.fixture
def dying(traces):
    return list(traces.hc_dying().rows())


def test_a_dying_run_is_judged_from_its_log(bench, writer, dying):
    judge_all(bench, writer, dying, **HC)
    rules = [one[0] for one in bench.told() if one[2] == "firing"]
    assert rules.index("exit_amax") < rules.index("nonfinite")
    (run,) = bench.rows(runs)
    assert run["summary"]["step"] == 139 and run["summary"]["loss"] == "NaN"
    assert run["summary"]["died_step"] == 118
    assert {data["rule"] for name, data in bench.rung if name == "alert"} >= {"exit_amax", "nonfinite"}


@pytest.mark.parametrize("restart", [False, True])
def test_cuts_and_restarts_change_nothing(bench, writer, dying, traces, restart):
    expected = [
        (one.rule, one.subject, one.state, one.step)
        for one in traces.judge(traces.hc_dying(), total_steps=200, config={"connection": "hc"})
    ]
    judge_all(bench, writer, dying, [3, 50, 61, 62, 63, 80, 118, 119], restart=restart, **HC)
    assert bench.told() == expected


def test_the_probe_hears_of_alerts_in_its_answers(bench, writer, dying):
    judge_all(bench, writer, dying, [100], **HC)
    answer = writer.send().json()["alerts"]
    assert {"pending", "firing"} <= {alert["state"] for alert in answer}
    assert [alert["number"] for alert in answer] == list(range(1, len(answer) + 1))
    assert writer.send(last_alert=answer[-1]["number"]).json()["alerts"] == []


def test_judging_again_from_the_start_writes_nothing_twice(bench, writer, dying):
    judge_all(bench, writer, dying, **HC)
    before = bench.told(), len(bench.rows(outbox))
    with bench.engine.begin() as connection:
        connection.execute(sa.delete(detector_states))
    bench.replace()
    bench.turns(2)
    assert (bench.told(), len(bench.rows(outbox))) == before


def test_what_fires_and_ends_goes_to_the_outbox_and_what_is_pending_does_not(bench, writer, dying):
    judge_all(bench, writer, dying, **HC)
    firing = [one for one in bench.rows(alert_transitions) if one["state"] == "firing"]
    assert [row["number"] for row in bench.rows(outbox)] == [one["number"] for one in firing]


def test_a_judge_that_was_taken_for_dead_writes_nothing(bench, writer, dying, monkeypatch):
    sending = write(writer, dying, [100], **HC)
    next(sending)
    bench.turns(2)
    before = bench.told()
    old = bench.judge
    with bench.engine.begin() as connection:
        connection.execute(sa.update(leases).values(owner="another", epoch=leases.c.epoch + 1))
    list(sending)
    monkeypatch.setattr(judgement, "take_lease", lambda *_: None)
    old.turn()
    assert bench.told() == before
    assert old._held == {}


def test_a_living_lease_of_another_is_respected_where_there_can_be_another(bench, writer, dying):
    list(write(writer, dying, **HC))
    with bench.engine.begin() as connection:
        assert judgement.take_lease(connection, "x", "one", 100.0, 15) == 1
        assert judgement.take_lease(connection, "x", "one", 101.0, 15) == 1
        # A SQLite file has one collector: a lease of another owner is that of a dead process
        if connection.dialect.name != "sqlite":
            assert judgement.take_lease(connection, "x", "two", 102.0, 15) is None
        assert judgement.take_lease(connection, "x", "two", 116.0, 15) == 2
        with pytest.raises(judgement.LeaseLostError):
            judgement.fence(connection, "x", "one", 1, 102.0, 15)


def test_a_judge_that_stops_gives_its_leases_back(bench, writer, traces):
    list(write(writer, list(traces.residual(num_steps=30).rows())))
    bench.turns(1)
    bench.judge.stop()
    assert [row["expires_at"] for row in bench.rows(leases)] == [0.0]


def test_a_long_backlog_is_judged_in_bounded_turns(bench, writer, traces, monkeypatch):
    monkeypatch.setattr(judge_module, "MAX_BATCHES_PER_TURN", 3)
    rows = list(traces.residual(num_steps=100).rows())
    list(write(writer, rows, range(5, 100, 5)))
    bench.turns(1)
    assert bench.rows(detector_states)[0]["judged_step"] == 14
    bench.turns(8)
    assert bench.rows(detector_states)[0]["judged_step"] == 99


def test_a_run_that_cannot_be_judged_does_not_stop_the_others(bench, http, traces, writer, caplog):
    rows = list(traces.residual(num_steps=30).rows())
    list(write(writer, rows))
    second = type(writer)(http, run_id="run-0")
    list(write(second, rows))
    with bench.engine.begin() as connection:
        table = sa.table("records", sa.column("body"), sa.column("run_id"), sa.column("kind"))
        connection.execute(
            sa.update(table).where(table.c.run_id == "run-0", table.c.kind == "batch").values(body=b"torn")
        )
    bench.turns(3)
    assert [row["run_id"] for row in bench.rows(detector_states)] == ["run-1"]
    assert "judging run-0 failed" in caplog.text


# Ranks


def two_ranks(http, writer):
    other = type(writer)(http, rank=1, session="session-2")
    writer.start("loss")
    other.start("loss")
    return writer, other


def test_the_watermark_waits_for_every_live_rank(bench, http, writer):
    one, two = two_ranks(http, writer)
    one.send(one.batch(range(10), np.ones(10)))
    two.send(two.batch(range(4), 3 * np.ones(4)))
    bench.turns(2)
    assert bench.rows(detector_states)[0]["judged_step"] == 3
    assert bench.rows(runs)[0]["summary"]["loss"] == 2.0


def test_a_rank_that_stands_still_is_left_out_after_the_grace_and_taken_back(bench, http, writer):
    one, two = two_ranks(http, writer)
    one.send(one.batch(range(10), np.ones(10)))
    two.send(two.batch(range(4), 3 * np.ones(4)))
    bench.turns(1)
    bench.clock.now += 31
    one.send(one.batch(range(10, 12), np.ones(2)))
    bench.turns(2)
    assert bench.rows(detector_states)[0]["judged_step"] == 11
    assert bench.rows(runs)[0]["summary"]["loss"] == 1.0
    two.send(two.batch(range(4, 15), 3 * np.ones(11)))
    bench.replace()
    bench.turns(1)
    one.send(one.batch(range(12, 20), np.ones(8)))
    bench.turns(2)
    assert bench.rows(detector_states)[0]["judged_step"] == 14
    assert bench.rows(runs)[0]["summary"]["loss"] == 2.0


# Attempts and ends


def test_a_new_attempt_is_judged_afresh_and_resolves_what_was_open(bench, http, writer, dying, traces):
    list(write(writer, dying, [100], **HC))
    again = type(writer)(http, attempt=1, session="session-2")
    healthy = list(traces.mhc(num_steps=60).rows())
    list(write(again, healthy, **HC))
    bench.turns(6)
    last = {(one[0], one[1]): one[2] for one in bench.told()}
    assert set(last.values()) == {"resolved"}
    assert any("Attempt 1" in row["reason"] for row in bench.rows(alert_transitions))
    assert any(one[0] == "nonfinite" for one in bench.told())  # the old attempt was judged to its end
    state = bench.rows(detector_states)[0]
    assert (state["attempt"], state["judged_step"]) == (1, 59)
    assert bench.rows(runs)[0]["summary"]["died_step"] is None


@pytest.mark.parametrize("ending", ["finished", "crashed"])
def test_critical_alerts_are_the_last_word_of_a_run_that_has_ended(bench, writer, dying, ending):
    list(write(writer, dying, **HC))
    writer.send(writer.event(ending, step=139))
    bench.turns(4)
    states = {(row["rule"], row["subject"]): (row["severity"], row["state"]) for row in bench.rows(alerts)}
    assert states["exit_amax", "amax"] == ("critical", "firing")
    assert states["time_bomb", "composite"] == (
        ("warning", "resolved") if ending == "finished" else ("warning", "firing")
    )
    assert "pending" not in {state for _, state in states.values()}


def test_a_schedule_change_in_the_log_restarts_the_patience(bench, http, writer, dying):
    list(write(writer, dying[:60], **HC))
    writer.send(writer.event("schedule", step=60, learning_rate=0.01))
    list(write(writer, dying, first=60))
    bench.turns(3)
    fired = {one[0]: one[3] for one in bench.told() if one[2] == "firing"}
    assert fired["exit_amax"] >= 70
    (row,) = [row for row in bench.rows(alerts) if row["rule"] == "exit_amax"]
    assert "step 60 (learning_rate 0.01)" in row["reason"]


def test_a_schedule_change_that_arrives_late_counts_from_where_it_arrived(bench, writer):
    writer.start("loss")
    writer.send(writer.batch(range(10), np.ones(10)))
    writer.send(writer.event("schedule", step=3, learning_rate=0.01))
    with bench.engine.connect() as connection:
        changes, after = judgement.read_changes(connection, "run-1", 0, {})
    assert [(change.step, change.what) for change in changes] == [(10, "learning_rate 0.01")]
    assert after == {0: 3}


# Heartbeats


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


# Groups


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


# The thread


def test_the_thread_judges_by_itself_and_stops(bench, writer, traces):
    rows = list(traces.residual(num_steps=30).rows())
    list(write(writer, rows))
    heard = threading.Event()
    judge = Judge(bench.engine, JudgeSettings(interval_seconds=0.02), lambda *_: heard.set())
    judge.start()
    for _ in range(500):
        if bench.rows(detector_states):
            break
        heard.wait(0.02)
    judge.stop()
    assert bench.rows(detector_states)[0]["judged_step"] == 29

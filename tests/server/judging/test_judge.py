"""The judge on a real database: each thing judged once, by one judge, whatever happens in between."""

import threading

import pytest
import sqlalchemy as sa
from tests.server.judging.bench import HC, judge_all, write

from foreshock.server import judge as judge_module
from foreshock.server.judge import Judge, JudgeSettings
from foreshock.server.store import judgement
from foreshock.server.store.schema import alert_transitions, detector_states, leases, outbox, runs

pytestmark = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


def test_a_dying_run_is_judged_from_its_log(bench, writer, dying):
    judge_all(bench, writer, dying, **HC)
    rules = [one[0] for one in bench.told() if one[2] == "firing"]
    assert rules.index("exit_amax") < rules.index("nonfinite")
    (run,) = bench.rows(runs)
    assert run["summary"]["step"] == 139 and run["summary"]["loss"] == "NaN"
    assert run["summary"]["died_step"] == 118
    assert {data["rule"] for name, data in bench.rung if name == "alert"} >= {"exit_amax", "nonfinite"}


def test_pages_hear_of_every_judgement_of_a_quiet_run_too_and_of_no_turn_without_one(bench, writer, traces):
    judge_all(bench, writer, list(traces.mhc(num_steps=60).rows()), [20, 40])
    assert not [name for name, _ in bench.rung if name == "alert"]
    judged = [data for name, data in bench.rung if name == "judged"]
    assert {data["run_id"] for data in judged} == {"run-1"}
    steps = [data["step"] for data in judged]
    assert steps == sorted(steps) and {19, 39, 59} <= set(steps)
    bench.turns(5)
    assert len([name for name, _ in bench.rung if name == "judged"]) == len(judged)


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
    fired, told = set(), []
    for one in bench.rows(alert_transitions):
        fired |= {one["alert_id"]} if one["state"] == "firing" else set()
        if one["state"] != "pending" and one["alert_id"] in fired:
            told.append(one["number"])
    assert told and [row["number"] for row in bench.rows(outbox)] == told


def test_a_live_run_that_is_deleted_is_held_no_longer(bench, writer, dying):
    sending = write(writer, dying, [50], **HC)
    next(sending)
    bench.turns(2)
    assert list(bench.judge._held) == ["run-1"]
    bench.set("run-1", deleted_at=1.0)
    bench.turns(1)
    assert not bench.judge._held


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


def test_a_lease_from_before_the_clock_was_set_back_is_taken_over(bench, writer, dying):
    list(write(writer, dying, **HC))
    with bench.engine.begin() as connection:
        assert judgement.take_lease(connection, "x", "one", 100_000.0, 15) == 1
        assert judgement.take_lease(connection, "x", "two", 100_000.0 - 3600, 15) == 2


def test_a_clock_that_is_set_back_keeps_nothing_waiting(bench, writer, dying):
    sending = write(writer, dying, [100], **HC)
    next(sending)
    bench.turns(1)
    bench.judge._clock = lambda: bench.clock.now - 86_400
    list(sending)
    bench.turns(2)
    assert bench.rows(detector_states)[0]["judged_step"] == 139


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

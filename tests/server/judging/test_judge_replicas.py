"""Judges that share a database, and judges that die between two commits: as if there had been one."""

import random
import threading

import numpy as np
import pytest
from tests.server.judging.bench import HC, SETTINGS, judge_all, write

from foreshock.server import judge as judge_module
from foreshock.server.judge import Judge
from foreshock.server.store.schema import alert_transitions, alerts, outbox, risks


def flapping_rows(num_steps=420):
    """A loss that turns NaN and back so often that its alert flaps, and at last stays finite."""
    rng = np.random.default_rng(3)
    rows = [{"loss": 3.0 + 0.01 * float(rng.standard_normal()), "grad_norm": 1.0} for _ in range(num_steps)]
    for step in range(40, 220, 12):
        rows[step]["loss"] = float("nan")
    return rows


def stored(bench, run_id="run-1"):
    """Alerts, transitions, notifications and risks of a run, without the run's own name."""
    found = []
    for table in (alerts, alert_transitions, outbox, risks):
        rows = bench.rows(table, table.c.run_id == run_id)
        left_out = {"run_id", "alert_key", "tries", "next_try_at"}
        found.append([{name: row[name] for name in row.keys() - left_out} for row in rows])
    return found


def test_a_loss_that_flaps_is_told_a_few_times_and_then_once(bench, writer):
    judge_all(bench, writer, flapping_rows())
    (alert,) = [row for row in bench.rows(alerts) if row["rule"] == "nonfinite" and row["subject"] == "loss"]
    assert (alert["num_firings"], alert["state"], alert["flapping"]) == (4, "resolved", False)
    firing = [row for row in bench.rows(alert_transitions) if row["state"] == "firing"]
    assert len(firing) == 4 and "it flaps" in firing[-1]["reason"]
    # Each firing and each end; of fifteen times that it turned NaN
    assert len(bench.rows(outbox)) == 8


@pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
@pytest.mark.parametrize("rows", ["dying", "flapping"])
def test_a_judge_that_dies_before_or_after_any_commit_changes_nothing(
    bench, http, writer, dying, rows, monkeypatch
):
    trace = dying if rows == "dying" else flapping_rows()
    clean = type(writer)(http, run_id="clean", session="clean")
    judge_all(bench, clean, trace, **HC)
    chance = random.Random(7)
    cuts = sorted(chance.sample(range(1, len(trace)), 12))
    for _ in write(writer, trace, cuts, **HC):
        with monkeypatch.context() as patch:
            die(patch, after=chance.random() < 0.5)
            bench.turns(1)
        bench.replace()
        if chance.random() < 0.5:
            bench.turns(1)
    bench.turns(3)
    assert stored(bench) == stored(bench, "clean")


def die(patch, after):
    """From now on a judge dies with its commit: once it is stored, or while it is being written."""

    class Killed(Exception):
        pass

    original = Judge._tell if after else judge_module.write_transitions

    def killed(*arguments):
        original(*arguments)
        raise Killed

    if after:
        patch.setattr(Judge, "_tell", killed)
    else:
        patch.setattr(judge_module, "write_transitions", killed)


@pytest.mark.postgres
@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_two_judges_on_one_postgres_find_what_one_does(bench, http, writer, dying):
    traces = {f"run-{number}": dying if number % 2 else flapping_rows() for number in range(1, 5)}
    alone = {run_id: type(writer)(http, run_id=f"of-{run_id}", session="alone") for run_id in traces}
    for run_id, trace in traces.items():
        judge_all(bench, alone[run_id], trace, **HC)
    bench.judge.stop()
    judges = [Judge(bench.engine, SETTINGS, lambda *_: None) for _ in range(2)]
    is_over = threading.Event()

    def judge(one):
        while not is_over.is_set():
            one.turn()
            # Leases go from one to the other all the time
            one.stop()
            one._stop.clear()
            one._held.clear()

    threads = [threading.Thread(target=judge, args=(one,)) for one in judges]
    for thread in threads:
        thread.start()
    for run_id, trace in traces.items():
        cuts = range(20, len(trace), 35)
        list(write(type(writer)(http, run_id=run_id), trace, cuts, **HC))
    is_over.set()
    for thread in threads:
        thread.join()
    for _ in range(3):
        judges[0].turn()
    for run_id in traces:
        assert stored(bench, run_id) == stored(bench, f"of-{run_id}")
        assert stored(bench, run_id)[1]

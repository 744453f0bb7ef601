"""Runs that were deleted are gone for everybody, at once for readers and soon from the disk."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from tests.server.conftest import HERE, CollectorProcess, Problem, Writer

from foreshock.server.app import create_app
from foreshock.server.keeper import Keeper
from foreshock.server.settings import Settings
from foreshock.server.store.compactor import Compactor
from foreshock.server.store.engine import open_to_read, reading, writing
from foreshock.server.store.retention import TABLES, overdue_runs, sweep, unswept_runs
from foreshock.server.store.schema import alerts, chunks, records, runs

both = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


@pytest.fixture
def quiet(settings: Settings) -> Iterator[TestClient]:
    """A collector whose threads move when the test says so."""
    with TestClient(create_app(settings), base_url=HERE, raise_server_exceptions=False) as client:
        collector = client.app.state.collector
        for thread in (collector.judge, collector.compactor, collector.keeper):
            thread.stop()
        collector.judge._stop.clear()
        yield client


def keeper(http: TestClient, now: float | None = None) -> Keeper:
    """A keeper of its own, with a clock that stands at `now`."""
    return Keeper(http.app.state.collector.engine, lambda *_: None, lambda: now or time.time())


def num_rows(engine: sa.Engine, run_id: str) -> int:
    """Rows of a run in all tables, but for the run's own."""
    with reading(engine) as connection:
        return sum(
            connection.execute(
                sa.select(sa.func.count()).select_from(table).where(table.c.run_id == run_id)
            ).scalar_one()
            for table in TABLES
        )


def test_every_table_of_runs_is_swept() -> None:
    of_runs = {table.name for table in runs.metadata.sorted_tables if "run_id" in table.c}
    assert {table.name for table in TABLES} == of_runs - {"runs"}


def fill(http: TestClient, run_id: str, num_steps: int = 1500, num_columns: int = 20) -> Writer:
    """A run with noise, an alert, chunks and a log; it goes on."""
    rng = np.random.default_rng(1)
    names = ("loss", *(f"stream_rms[{layer}]" for layer in range(num_columns - 1)))
    writer = Writer(http, run_id, session=run_id).start(*names, config={"connection": "hc"}, seed=1)
    for start in range(0, num_steps, 500):
        values = np.exp(rng.standard_normal((500, num_columns)))
        values[250, 0] = np.nan
        assert writer.send(writer.batch(range(start, start + 500), values)).status_code == 200
    collector = http.app.state.collector
    for _ in range(3):
        collector.judge._due.clear()
        collector.judge.turn()
    Compactor(collector.engine).run_once()
    return writer


@both
def test_a_deleted_run_is_seen_by_nobody_and_its_id_stays_taken(quiet: TestClient, problem: Problem) -> None:
    engine = quiet.app.state.collector.engine
    for run_id in ("gone", "kept"):
        fill(quiet, run_id)
    writer = fill(quiet, "gone-soon")
    assert quiet.delete("/api/v1/runs/gone").json() == {"run_id": "gone", "deleted": True}
    assert quiet.delete("/api/v1/runs/gone-soon").status_code == 200
    paths = ("", "/series?column=loss", "/latest", "/events", "/alerts", "/frames", "/figures/loss")
    for swept in (False, True):
        if swept:
            keeper(quiet).run_once()
            assert num_rows(engine, "gone") == num_rows(engine, "gone-soon") == 0
        listed = quiet.get("/api/v1/runs").json()
        assert [one["run_id"] for one in listed["runs"]] == ["kept"] and listed["total"] == 1
        for path in paths:
            problem(quiet.get(f"/api/v1/runs/gone{path}"), 404, "unknown-run")
        problem(quiet.delete("/api/v1/runs/gone"), 404, "unknown-run")
        problem(quiet.post("/api/v1/runs/gone/pin"), 404, "unknown-run")
        problem(quiet.get("/api/v1/alerts/gone/1"), 404, "unknown-alert")
        assert {one["run_id"] for one in quiet.get("/api/v1/alerts").json()["alerts"]} == {"kept"}
        assert 'run_id="gone' not in quiet.get("/metrics").text
        compared = quiet.get("/api/v1/compare?project=demo&group_by=connection&column=loss").json()
        assert [run["run_id"] for group in compared["groups"] for run in group["runs"]] == ["kept"]
        (project,) = quiet.get("/api/v1/projects").json()["projects"]
        assert project["num_runs"] == 1 and project["num_points"] > 0 and project["num_bytes"] > 0
        for late in (writer.send(writer.batch([9000], np.ones((1, 20)))), writer.declare()):
            assert "another id" in problem(late, 410, "run-deleted")["detail"]
        collector = quiet.app.state.collector
        collector.judge._due.clear()
        collector.judge.turn()
        Compactor(engine, lambda: time.time() + 3600).run_once()
        if swept:
            assert num_rows(engine, "gone") == num_rows(engine, "gone-soon") == 0
    with reading(engine) as connection:
        row = connection.execute(sa.select(runs).where(runs.c.run_id == "gone")).one()
        assert (row.config, row.tags, row.summary) == ({}, [], {}) and unswept_runs(connection) == []
    assert num_rows(engine, "kept") > 0


@both
def test_a_sweep_that_is_left_anywhere_goes_on(quiet: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foreshock.server.store.retention.SLICE_ROWS", 1)
    engine = quiet.app.state.collector.engine
    fill(quiet, "gone")
    before = num_rows(engine, "gone")
    quiet.delete("/api/v1/runs/gone")
    for slices in itertools.count(1):
        with reading(engine) as connection:
            if not unswept_runs(connection):
                break
        left = num_rows(engine, "gone")
        gone = sum(itertools.islice(sweep(engine, "gone"), slices))
        assert left - num_rows(engine, "gone") == gone > 0
    assert slices > 3 and before > 10 and num_rows(engine, "gone") == 0


@both
def test_a_run_that_is_deleted_while_it_is_appended_to_leaves_nothing(
    backend: str, start_collector: Callable[..., CollectorProcess]
) -> None:
    environment = {"FORESHOCK_JUDGE_INTERVAL_SECONDS": "0.05"}
    url = start_collector("--port", "0", "--db", backend, environment=environment).url()
    statuses: dict[str, set[int]] = {"gone": set(), "kept": set(), "reader": set()}
    over = threading.Event()
    num_sent = dict.fromkeys(("gone", "kept"), 0)

    def write(run_id: str, rank: int) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            writer = Writer(client, run_id, rank=rank, session=f"{run_id}-{rank}").start("loss", "x")
            for start in itertools.count(0, 300):
                values = np.full((300, 2), np.nan if start % 900 else 1.0)
                status = writer.send(writer.batch(range(start, start + 300), values)).status_code
                statuses[run_id].add(status)
                num_sent[run_id] += status == 200
                if over.is_set() or status not in (200, 429):
                    return

    def read() -> None:
        paths = ("", "/series?column=loss", "/alerts", "/latest", "/frames?limit=1000")
        with httpx.Client(base_url=url, timeout=30) as client:
            for path in itertools.cycle(paths):
                if over.is_set():
                    return
                statuses["reader"].add(client.get(f"/api/v1/runs/gone{path}").status_code)

    threads = [threading.Thread(target=write, args=(run_id, rank)) for run_id in num_sent for rank in (0, 1)]
    threads.append(threading.Thread(target=read))
    for thread in threads:
        thread.start()
    with httpx.Client(base_url=url, timeout=30) as client, open_to_read(backend) as database:

        def count(table: sa.Table, run_id: str) -> int:
            with reading(database.engine) as connection:
                query = sa.select(sa.func.count()).select_from(table).where(table.c.run_id == run_id)
                return int(connection.execute(query).scalar_one())

        try:
            wait_for(lambda: count(chunks, "gone") > 0 and count(alerts, "gone") > 0)
            assert client.delete("/api/v1/runs/gone").status_code == 200
            wait_for(lambda: 410 in statuses["gone"])
            wait_for(lambda: num_rows(database.engine, "gone") == 0)
            sent_by_then = num_sent["kept"]
            wait_for(lambda: num_sent["kept"] > sent_by_then + 10)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert num_rows(database.engine, "gone") == 0
        assert num_rows(database.engine, "kept") > 0
    assert statuses["gone"] - {429} == {200, 410}
    assert statuses["kept"] - {429} == {200}
    assert statuses["reader"] <= {200, 404}


def wait_for(condition: Callable[[], bool], limit_seconds: float = 60.0) -> None:
    deadline = time.monotonic() + limit_seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_the_file_on_the_disk_shrinks(quiet: TestClient, backend: str) -> None:
    fill(quiet, "kept")
    fill(quiet, "gone", num_steps=4000, num_columns=200)
    assert quiet.get("/api/v1/projects").json()["projects"][0]["num_bytes"] > 2_500_000
    quiet.delete("/api/v1/runs/gone")
    keeper(quiet).run_once()
    assert Path(f"{backend}-wal").stat().st_size == 0
    assert Path(backend).stat().st_size < 2_000_000
    assert quiet.get("/api/v1/runs/kept/latest").json()["step"] == 1499


@pytest.mark.postgres
@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_postgres_gets_the_space_back(quiet: TestClient) -> None:
    def size() -> int:
        with reading(quiet.app.state.collector.engine) as connection:
            sizes = (sa.func.pg_total_relation_size(table.name) for table in (records, chunks))
            return sum(connection.execute(sa.select(one)).scalar_one() for one in sizes)

    fill(quiet, "gone", num_steps=4000, num_columns=200)
    before = size()
    quiet.delete("/api/v1/runs/gone")
    keeper(quiet).run_once()
    assert before > 2_000_000 and size() < before / 2


def aged(http: TestClient, **days: float) -> float:
    """Ended runs that were last heard of so many days ago; what the clock says now."""
    now = time.time()
    with writing(http.app.state.collector.engine) as connection:
        for run_id, age in days.items():
            values = {"heartbeat_at": now - age * 86_400, "state": "finished"}
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(values))
    return now


def due(http: TestClient, now: float) -> list[str]:
    with reading(http.app.state.collector.engine) as connection:
        return overdue_runs(connection, now)


@both
def test_old_runs_go_but_never_one_that_runs_or_is_pinned(quiet: TestClient) -> None:
    for run_id in ("a", "b", "c", "pinned", "running"):
        Writer(quiet, run_id, session=run_id).start()
    Writer(quiet, "elsewhere", session="e").start(project="another")
    now = aged(quiet, a=40, b=31, c=29, pinned=50, running=60, elsewhere=70)
    with writing(quiet.app.state.collector.engine) as connection:
        connection.execute(sa.update(runs).where(runs.c.run_id == "running").values(state="running"))
    assert quiet.post("/api/v1/runs/pinned/pin").json() == {"run_id": "pinned", "pinned": True}
    assert due(quiet, now) == []
    assert quiet.put("/api/v1/projects/demo", json={"keep_days": 30}).status_code == 200
    # All of it is at least 29 days old: perhaps it is only the clock that has gone on
    assert due(quiet, now) == due(quiet, now + 10**9) == []
    Writer(quiet, "fresh", session="f").start()
    assert due(quiet, now) == due(quiet, now + 10**9) == ["a", "b"]
    assert due(quiet, now - 10 * 86_400) == []
    keeper(quiet, now).run_once()
    listed = {one["run_id"] for one in quiet.get("/api/v1/runs").json()["runs"]}
    assert listed == {"c", "pinned", "running", "elsewhere", "fresh"}
    quiet.post("/api/v1/runs/pinned/unpin")
    assert due(quiet, now) == ["pinned"]
    quiet.put("/api/v1/projects/demo", json={})
    assert due(quiet, now) == []


@both
def test_the_oldest_ended_runs_go_until_a_project_is_small_enough(quiet: TestClient) -> None:
    for run_id in ("old", "older", "oldest", "going"):
        fill(quiet, run_id)
    now = aged(quiet, old=1, older=2, oldest=3)
    size = quiet.get("/api/v1/projects").json()["projects"][0]["num_bytes"]
    for keep, gone in ((1.0, []), (0.99, ["oldest"]), (0.51, ["oldest", "older"]), (0.0, None)):
        answer = quiet.put("/api/v1/projects/demo", json={"keep_bytes": int(size * keep)})
        assert answer.json()["keep_bytes"] == int(size * keep)
        assert due(quiet, now) == (["oldest", "older", "old"] if gone is None else gone)


@pytest.mark.parametrize(
    "said", [{"keep_days": 0}, {"keep_days": "NaN"}, {"keep_bytes": -1}, {"keep_byte": 1}, {"keep_days": 1e9}]
)
def test_limits_that_mean_nothing_are_refused(
    http: TestClient, problem: Problem, said: dict[str, Any]
) -> None:
    problem(http.put("/api/v1/projects/demo", json=said), 422, "invalid")


def test_the_keeper_of_a_live_collector_sweeps_by_itself(http: TestClient, writer: Writer) -> None:
    writer.start()
    http.delete("/api/v1/runs/run-1")
    wait_for(lambda: num_rows(http.app.state.collector.engine, "run-1") == 0)

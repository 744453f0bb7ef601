"""Compaction: what is in chunks reads as it did in the log, at every resolution, nothing lost or doubled."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from tests.server.conftest import HERE, Writer

from foreshock.server.app import create_app
from foreshock.server.settings import Settings
from foreshock.server.store.chunks import (
    pack_window,
    unpack_cells,
    unpack_columns,
    unpack_steps,
    unpack_times,
)
from foreshock.server.store.compactor import Compactor
from foreshock.server.store.engine import writing
from foreshock.server.store.schema import chunks, compactions, detector_states, envelopes, records, runs
from foreshock.server.store.windows import Windows
from foreshock.wire import MISSING

BACKENDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
both = pytest.mark.parametrize("backend", BACKENDS, indirect=True)


@pytest.fixture
def quiet(settings: Settings) -> Iterator[TestClient]:
    """A collector whose judge and compactor move when the test says so."""
    with TestClient(create_app(settings), base_url=HERE, raise_server_exceptions=False) as client:
        client.app.state.collector.judge.stop()
        client.app.state.collector.compactor.stop()
        yield client


def judged(http: TestClient, step: int, attempt: int = 0) -> None:
    """Says that the judge has come so far."""
    with writing(http.app.state.collector.engine) as connection:
        connection.execute(sa.delete(detector_states))
        row = {"run_id": "run-1", "attempt": attempt, "judged_step": step, "state": b""}
        connection.execute(sa.insert(detector_states).values(row))


def compact(http: TestClient, later: float = 0.0) -> int:
    """One round of a compactor of its own, `later` seconds from now."""
    import time

    return Compactor(http.app.state.collector.engine, lambda: time.time() + later).run_once()


def count(http: TestClient, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
    with http.app.state.collector.engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table).where(*where)).scalar_one()


def everything(http: TestClient) -> dict[str, Any]:
    """All that readers can see of the run, at many resolutions, from a cold cache and a warm one."""
    collector = http.app.state.collector
    seen: dict[str, Any] = {"latest": http.get("/api/v1/runs/run-1/latest").json()}
    for temperature in ("cold", "warm"):
        if temperature == "cold":
            collector.windows = Windows(2**20)
        for buckets in (1, 17, 150, 5000):
            for window in ({}, {"start": 1000, "stop": 3100}):
                query = {"column": ["loss", "a[0]", "a[1]", "a[2]", "c"], "buckets": buckets, **window}
                answer = http.get("/api/v1/runs/run-1/series", params=query)
                assert answer.status_code == 200, answer.text
                seen[f"series {temperature} {query}"] = answer.json()
                query = {"series": "a", "buckets": buckets, **window}
                seen[f"map {temperature} {query}"] = http.get("/api/v1/runs/run-1/map", params=query).json()
    return seen


def same(before: Any, after: Any, where: str = "") -> None:
    """Equal, but for means, which envelopes round to float32."""
    if isinstance(before, dict):
        assert before.keys() == after.keys(), where
        for key in before:
            same(before[key], after[key], f"{where} {key}")
    elif where.endswith("mean"):
        exact, rounded = (np.array(value, object).astype(float) for value in (before, after))
        np.testing.assert_allclose(rounded, exact, rtol=2e-7, err_msg=where)
    elif isinstance(before, list) and before and isinstance(before[0], dict):
        assert len(before) == len(after), where
        for old, new in zip(before, after, strict=True):
            same(old, new, where)
    else:
        assert before == after, where


def wild_values(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    values = np.exp(rng.standard_normal(shape)).astype(np.float32)
    odd = rng.random(shape)
    values[odd < 0.02] = np.nan
    values[(0.02 < odd) & (odd < 0.03)] = np.inf
    values[(0.03 < odd) & (odd < 0.04)] = -np.inf
    values[(0.04 < odd) & (odd < 0.2)] = MISSING
    values[:, 0] = np.where(odd[:, 0] < 0.1, MISSING, -0.0)
    return values


@both
@pytest.mark.parametrize("seed", range(4))
def test_what_readers_see_does_not_change_when_batches_become_chunks(quiet: TestClient, seed: int) -> None:
    rng = np.random.default_rng(seed)
    writer = Writer(quiet).start("loss", "a[0]", "a[1]", "b", *(f"x{i}" for i in range(9)), "c")
    writer.send(writer.layout("a[2]", "d", layout_id=1, stream="slow"))
    strides = [(1, 1), (1, 10), (3, 200), (1, 1)][seed]
    step, slow = int(rng.integers(0, 2000)), 0
    for _ in range(14):
        steps = step + np.cumsum(rng.integers(1, strides[0] + 1, int(rng.integers(1, 700))))
        writer.send(writer.batch(steps.tolist(), wild_values(rng, (len(steps), 14))))
        step = int(steps[-1])
        every = slow + np.cumsum(rng.integers(1, strides[1] + 1, int(rng.integers(1, 300))))
        writer.send(writer.batch(every.tolist(), wild_values(rng, (len(every), 2)), layout_id=1))
        slow = int(every[-1])
    before = everything(quiet)
    for upto in (step // 2, step + slow):
        judged(quiet, upto)
        compact(quiet)
        same(before, everything(quiet))
    assert count(quiet, chunks) > 4
    writer.send(writer.event("finished", step))
    assert compact(quiet, later=120) > 0
    assert count(quiet, records, records.c.kind == "batch") == 0
    same(before, everything(quiet))


@pytest.mark.parametrize("seed", range(6))
def test_a_spike_of_one_step_is_seen_at_every_resolution_wherever_it_lies(
    quiet: TestClient, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    length, place, layer = 9000, int(rng.integers(0, 9000)), int(rng.integers(0, 3))
    values = np.ones((length, 3), np.float32)
    values[place, layer] = 1e9
    writer = Writer(quiet).start(*(f"a[{i}]" for i in range(3)))
    for start in range(0, length, 300):
        writer.send(writer.batch(range(start, start + 300), values[start : start + 300]))
    judged(quiet, int(rng.integers(0, length)))
    compact(quiet)
    for buckets in (1, 2, 5, 60, 100, 281, 2000, 9000):
        query = {"column": f"a[{layer}]", "buckets": buckets}
        found = quiet.get("/api/v1/runs/run-1/series", params=query).json()["series"][0]
        at = found["max"].index(1e9)
        assert found["first_step"][at] <= place <= found["last_step"][at]
        assert sum(found["count"]) == length
        query = {"series": "a", "buckets": min(buckets, 5000)}
        drawn = quiet.get("/api/v1/runs/run-1/map", params=query).json()
        assert max(drawn["max"][layer]) == 1e9
        told = quiet.get("/api/v1/runs/run-1/quantiles", params={**query, "quantile": 1}).json()
        assert max(told["values"][0]) == 1e9


@both
def test_batches_that_are_not_judged_yet_stay_in_the_log(quiet: TestClient) -> None:
    writer = Writer(quiet).start()
    writer.send(writer.batch(range(5000), np.arange(5000.0)))
    assert compact(quiet) == 0
    judged(quiet, 3000)
    assert compact(quiet) == 2
    with quiet.app.state.collector.engine.connect() as connection:
        assert connection.execute(sa.select(compactions.c.upto_step)).scalar_one() == 2047
    assert count(quiet, records, records.c.kind == "batch") == 1  # its end is not in chunks yet


@both
def test_of_two_compactors_one_writes_a_window_and_the_other_leaves_it(quiet: TestClient) -> None:
    writer = Writer(quiet).start()
    writer.send(writer.batch(range(3000), np.arange(3000.0)))
    judged(quiet, 2999)
    engine = quiet.app.state.collector.engine
    slow, quick = Compactor(engine), Compactor(engine)
    write = slow._write

    def late(*arguments: Any) -> bool:
        quick.run_once()
        return write(*arguments)

    slow._write = late  # type: ignore[method-assign]
    assert slow.run_once() == 0
    assert count(quiet, chunks) == count(quiet, envelopes) == 2
    found = quiet.get("/api/v1/runs/run-1/series?column=loss&buckets=5000").json()["series"][0]
    assert found["last"] == list(range(3000))


@both
def test_a_stream_that_cannot_be_read_stays_as_it_is_and_keeps_no_other_waiting(
    quiet: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer(quiet).start()
    writer.send(writer.layout("b", layout_id=1, stream="other"))
    for layout_id in (0, 1):
        writer.send(writer.batch(range(2000), np.arange(2000.0), layout_id=layout_id))
    judged(quiet, 1999)
    engine = quiet.app.state.collector.engine
    of_first = (records.c.layout_id == 0, records.c.kind == "batch")
    with writing(engine) as connection:
        connection.execute(sa.update(records).where(*of_first).values(body=b"damaged"))
    compactor = Compactor(engine)
    assert [compactor.run_once() for _ in range(2)] == [1, 0]
    assert count(quiet, records, *of_first) == 1
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert "db verify" in caplog.text


@both
def test_an_older_attempt_and_an_ended_run_leave_nothing_in_the_log(quiet: TestClient) -> None:
    writer = Writer(quiet).start()
    writer.send(writer.batch(range(100), np.arange(100.0)))
    judged(quiet, 99)
    assert compact(quiet, later=3600) == 0  # it may still go on
    again = Writer(quiet, attempt=1, session="session-2").start()
    again.send(again.batch(range(50), np.arange(50.0)))
    judged(quiet, 49, attempt=1)
    assert compact(quiet) == 1
    again.send(again.event("crashed", 49))
    assert compact(quiet) == 0  # not quiet for long enough
    assert compact(quiet, later=120) == 1
    assert count(quiet, records, records.c.kind == "batch") == 0
    for attempt, length in ((0, 100), (1, 50)):
        found = quiet.get(f"/api/v1/runs/run-1/series?column=loss&buckets=5000&attempt={attempt}").json()
        assert found["series"][0]["last"] == list(range(length))
    # A run that was thought dead goes on: its next window begins where the last one ended
    again.send(again.batch(range(50, 2000), np.arange(50.0, 2000)))
    judged(quiet, 1999, attempt=1)
    assert compact(quiet) == 1
    found = quiet.get("/api/v1/runs/run-1/series?column=loss&buckets=5000").json()["series"][0]
    assert found["last"] == list(range(2000))


@both
def test_nothing_is_written_of_a_run_that_was_deleted_meanwhile(quiet: TestClient) -> None:
    writer = Writer(quiet).start()
    writer.send(writer.batch(range(3000), np.arange(3000.0)))
    judged(quiet, 2999)
    compactor = Compactor(quiet.app.state.collector.engine)
    write = compactor._write

    def deleted_first(*arguments: Any) -> bool:
        with writing(quiet.app.state.collector.engine) as connection:
            connection.execute(sa.update(runs).values(deleted_at=1.0))
        return write(*arguments)

    compactor._write = deleted_first  # type: ignore[method-assign]
    assert compactor.run_once() == 0
    assert count(quiet, chunks) == count(quiet, compactions) == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_window_comes_back_bit_for_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, num_columns = int(rng.integers(1, 1500)), int(rng.integers(1, 30))
    bits = rng.integers(0, 2**32, (num_columns, size), dtype=np.uint32)
    bits[bits % 5 == 0] = 0x7F800001  # a signalling NaN with a payload
    values = bits.view(np.float32)
    steps = np.cumsum(rng.integers(1, [2, 9][seed % 2], size)) + int(rng.integers(0, 2**40))
    times = rng.choice([np.nan, -1.5, 1.7e9, 1e300, np.inf], size)
    found = list(pack_window(steps, times, values, 64))
    assert len(found) == -(-num_columns // 8)
    for chunk in found:
        part = values[8 * chunk.part : 8 * chunk.part + 8]
        assert unpack_steps(chunk.steps).tolist() == steps.tolist()
        back = unpack_columns(chunk.body, len(part), range(len(part)), size)
        assert back.tobytes() == part.tobytes()
        assert unpack_cells(chunk.summary, [0]).count.shape[0] == 1
        assert (chunk.times is None) == (chunk.part > 0)
    assert unpack_times(found[0].times or b"").tobytes() == times.tobytes()

"""The forecast's risk as it is stored and read: what the forecaster said, however it came to be stored."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from tests.server.conftest import HERE, Problem, Writer

from foreshock.server.app import create_app
from foreshock.server.detection.block import block_of
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.forecast.forecaster import HORIZON_NAMES, Forecaster
from foreshock.server.settings import Settings
from foreshock.server.store.engine import writing
from foreshock.server.store.risks import PIECE_TICKS
from foreshock.server.store.schema import alerts, risks
from foreshock.server.vault.verify import verify

NUM_STEPS = 2_600
both = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


@pytest.fixture
def quiet(settings: Settings) -> Iterator[TestClient]:
    """A collector whose judge takes its turns when the test says so."""
    with TestClient(create_app(settings), base_url=HERE, raise_server_exceptions=False) as client:
        client.app.state.collector.judge.stop()
        client.app.state.collector.judge._stop.clear()
        yield client


def losses(num_steps: int = NUM_STEPS) -> Any:
    """A loss that falls, and rises towards the end."""
    steps = np.arange(num_steps)
    noise = np.random.default_rng(5).standard_normal(num_steps)
    rise = np.maximum(steps - 0.9 * num_steps, 0.0) / num_steps * 20
    return (2 + 2 * np.exp(-steps / 400) + 0.02 * noise + rise).astype(np.float32)


def judge(http: TestClient, count: int = 8) -> None:
    collector = http.app.state.collector  # type: ignore[attr-defined]
    for _ in range(count):
        collector.judge._due.clear()
        collector.judge.turn()


def send(http: TestClient, run_id: str, *cuts: int) -> None:
    """A run, judged after each piece that was sent of it."""
    writer = Writer(http, run_id).start("loss", total_steps=NUM_STEPS)
    for start, stop in zip((0, *cuts), (*cuts, NUM_STEPS), strict=True):
        writer.send(writer.batch(range(start, stop), losses()[start:stop]))
        judge(http, 1 + bool(cuts))
    judge(http)


def ask(http: TestClient, run_id: str = "run-1", **query: Any) -> dict[str, Any]:
    answer = http.get(f"/api/v1/runs/{run_id}/risk", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@both
def test_what_was_forecast_is_what_is_read(quiet: TestClient) -> None:
    send(quiet, "run-1", 1, 7, 300, 301, 1500, 2599)
    found = ask(quiet, buckets=100_000)
    outlook = Forecaster(RunContext(NUM_STEPS)).advance(block_of({"loss": losses()}))
    assert found["bucket_width"] == 1 and found["horizons"] == list(HORIZON_NAMES)
    assert found["first_step"] == found["last_step"] == outlook.rows.tolist()
    assert len(outlook.rows) > 2 * PIECE_TICKS
    for place, name in enumerate(HORIZON_NAMES):
        np.testing.assert_allclose(found["risk"][name], outlook.risks[:, place], rtol=1e-6, atol=1e-7)
    assert max(found["risk"]["10%"]) > 2 * min(found["risk"]["10%"])


@both
def test_the_same_bytes_are_stored_however_the_log_was_cut(quiet: TestClient) -> None:
    send(quiet, "run-1")
    send(quiet, "run-2", 1, 100, 255, 256, 257, 600, 1900)
    with quiet.app.state.collector.engine.connect() as connection:  # type: ignore[attr-defined]
        rows = [
            connection.execute(sa.select(*list(risks.c)[1:]).where(risks.c.run_id == run_id)).all()
            for run_id in ("run-1", "run-2")
        ]
    assert rows[0] == rows[1] and len(rows[0]) > 2


@both
def test_a_bucket_keeps_its_largest_risk(quiet: TestClient) -> None:
    send(quiet, "run-1")
    every, few = ask(quiet, buckets=100_000), ask(quiet, buckets=10)
    assert few["bucket_width"] == 512 and len(few["first_step"]) == 6
    for name in HORIZON_NAMES:
        inside = np.array(every["first_step"]) // 512
        of_buckets = [np.array(every["risk"][name])[inside == bucket].max() for bucket in range(6)]
        assert few["risk"][name] == of_buckets
    near = ask(quiet, around=1000, reach=16, buckets=100)
    assert near["first_step"] == list(range(984, 1017, 4))
    assert [near["risk"]["20"][0]] == [every["risk"]["20"][every["first_step"].index(984)]]
    assert ask(quiet, start=NUM_STEPS + 5)["first_step"] == []


def test_each_attempt_has_its_own(quiet: TestClient, problem: Problem) -> None:
    first = Writer(quiet).start("loss")
    assert ask(quiet)["first_step"] == [] and ask(quiet)["risk"]["20"] == []
    first.send(first.batch(range(50), losses()[:50]))
    second = Writer(quiet, attempt=1, session="again").start("loss")
    second.send(second.batch(range(20, 40), losses()[20:40]))
    judge(quiet)
    assert ask(quiet)["attempt"] == 1 and ask(quiet)["first_step"] == list(range(20, 40))
    assert ask(quiet, attempt=0)["first_step"] == list(range(50))
    problem(quiet.get("/api/v1/runs/run-1/risk", params={"attempt": 7}), 404, "unknown-attempt")
    problem(quiet.get("/api/v1/runs/nobody/risk"), 404, "unknown-run")
    for query in ({"buckets": 0}, {"around": 1, "start": 0}, {"horizon": "20"}, {"start": -1}):
        assert quiet.get("/api/v1/runs/run-1/risk", params=query).status_code == 422


def test_a_damaged_piece_is_told_of_and_keeps_the_judge_from_nothing(
    quiet: TestClient, settings: Settings, problem: Problem
) -> None:
    writer = Writer(quiet).start("loss")
    writer.send(writer.batch(range(100), losses()[:100]))
    judge(quiet)
    engine = quiet.app.state.collector.engine  # type: ignore[attr-defined]
    with writing(engine) as connection:
        connection.execute(sa.update(risks).values(body=b"nonsense"))
    writer.send(writer.batch(range(100, 200), [*losses()[100:199], np.nan]))
    judge(quiet)
    problem(quiet.get("/api/v1/runs/run-1/risk"), 500, "damaged")
    assert ask(quiet, start=100)["first_step"] == list(range(100, 200))
    with engine.connect() as connection:
        assert "nonfinite" in connection.execute(sa.select(alerts.c.rule)).scalars().all()
    assert [fault.what for fault in verify(settings.db)] == [
        "the piece of risks at step 0 of attempt 0 has another checksum than its bytes"
    ]

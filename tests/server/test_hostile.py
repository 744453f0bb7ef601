"""What the fuzzer found, mended: requests that nobody means well by are refused in words."""

from typing import Any

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
import zstandard
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer

from foreshock.wire import Tombstone, make_batch

BOTH = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


@BOTH
@pytest.mark.parametrize("num_frames", [2**31, 2**63 - 1])
def test_a_tombstone_counts_no_more_frames_than_the_database_holds(
    writer: Writer, problem: Problem, num_frames: int
) -> None:
    writer.start()
    told = problem(writer.send(Tombstone(1, 1, num_frames, "")), 400, "malformed")
    assert str(num_frames) in told["detail"]
    for _ in range(3):
        sequence = writer.take()
        assert writer.send(Tombstone(sequence, sequence, 2**31 - 1, "")).status_code == 200


@BOTH
def test_a_stream_with_a_nul_is_refused_and_others_are_stored(writer: Writer, problem: Problem) -> None:
    writer.start()
    body = writer.body(writer.layout("a", layout_id=1, stream="a\0b"))
    assert "NUL" in problem(writer.post(body), 400, "malformed")["detail"]
    writer.next_sequence -= 1
    assert writer.send(writer.batch([0], [1.0])).status_code == 200


@BOTH
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/runs?q=%00",
        "/api/v1/runs?project=a%00",
        "/api/v1/compare?project=%00",
        "/api/v1/alerts?run=%00",
        "/api/v1/verdict?project=%00",
        "/api/v1/alerts/%00/1",
        "/api/v1/runs/%00",
        "/runs/a?x=%00",
    ],
)
def test_an_address_with_a_nul_is_refused(http: TestClient, problem: Problem, path: str) -> None:
    assert "%00" in problem(http.get(path), 400, "malformed")["detail"]


@pytest.mark.parametrize("told", [np.nan, np.inf, -np.inf])
def test_a_batch_whose_clock_tells_no_time_is_refused(writer: Writer, problem: Problem, told: float) -> None:
    """Stored, it would keep the judge from every alert of the run."""
    writer.start()
    steps, times = np.arange(3), np.array([1.0, told, 2.0])
    batch = make_batch(writer.take(), 0, steps, times, np.ones((3, 1), np.float32))
    assert "no finite number" in problem(writer.send(batch), 400, "malformed")["detail"]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": [value]} if depth % 2 else {"a": value}
    return value


def test_a_configuration_is_nested_so_deep_and_no_deeper(
    http: TestClient, writer: Writer, problem: Problem
) -> None:
    assert writer.declare(config=nested(64)).status_code == 200
    assert http.get("/api/v1/runs/run-1").json()["config"] == nested(64)
    assert http.get("/api/v1/runs?q=a.a%3D1").status_code == 200
    for depth in (66, 300, 600):
        told = problem(writer.declare(config=nested(depth)), 422, "invalid")
        assert "nested more than 64 deep" in told["detail"]


@pytest.mark.parametrize("field", ["run_id", "config", "tags", "seed", "more"])
@pytest.mark.parametrize("depth", [100, 900, 990, 5000, 100_000])
def test_a_value_of_any_depth_in_any_field_is_refused(http: TestClient, field: str, depth: int) -> None:
    body = f'{{"run_id": "a", "project": "p", "name": "n", "{field}": {"[" * depth}{"]" * depth}}}'
    headers = {"Content-Type": "application/json"}
    answer = http.post("/api/v1/runs", content=body.encode(), headers=headers)
    assert answer.status_code in (400, 422) or (field == "more" and answer.status_code == 200), answer.text


@pytest.mark.parametrize("version", ["x", "9.9.9", "", "1.0.0\xe9", "-1", "1.0.0.0.0"])
def test_any_accept_header_gets_the_metrics(http: TestClient, version: str) -> None:
    for media in ("application/openmetrics-text", "text/plain"):
        accept = f"{media}; version={version}; escaping=nonsense".encode("latin-1")
        answer = http.get("/metrics", headers={"Accept": accept})
        assert answer.status_code == 200 and "foreshock_records_total" in answer.text


def test_a_frame_that_lies_about_its_size_is_refused(writer: Writer, problem: Problem) -> None:
    writer.start()
    record = msgspec.msgpack.encode(writer.event("note"))
    block = (len(record) << 3 | 1).to_bytes(3, "little") + record
    for size in (0, 1, len(record) - 1, len(record) + 1, 60 * 2**20):
        frame = b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + block
        assert zstandard.frame_content_size(frame) == size
        problem(writer.send(records=[frame]), 400, "malformed")


def test_a_form_that_anybody_may_send_is_small(http: TestClient, problem: Problem) -> None:
    problem(http.post("/login", content=b"a" * 20_000), 413, "too-large")


def test_whoever_asks_for_readiness_is_not_told_where_the_database_is(
    http: TestClient, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise sa.exc.OperationalError("SELECT 1", {}, Exception("no answer from db.internal:5432"))

    monkeypatch.setattr("foreshock.server.api.health.reading", fail)
    assert "internal" not in problem(http.get("/readyz"), 503, "storage-unavailable")["detail"]


def test_what_was_sent_does_not_stand_in_the_log_of_a_failed_statement(
    http: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    engine = http.app.state.collector.engine  # type: ignore[attr-defined]
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE tokens")
    assert http.post("/api/v1/tokens", json={"name": "the name", "scopes": ["read"]}).status_code == 503
    assert "no such table" in caplog.text and "the name" not in caplog.text

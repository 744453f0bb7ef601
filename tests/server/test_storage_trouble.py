"""A disk that is full, a database that turns read-only, a queue that is full: told, and nothing harmed."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer

from foreshock.server.errors import BusyError, StorageError
from foreshock.server.store.entries import Submission, read_body
from foreshock.server.store.line import MAX_GROUP_BYTES, Line, Waiting
from foreshock.server.store.room import SMALL_BYTES, Room


@pytest.fixture
def pragma(http: TestClient):
    """Runs a PRAGMA on every connection, present and future."""
    engine = http.app.state.collector.engine
    statements = []

    def on_checkout(connection: Any, *_):
        for statement in statements:
            connection.execute(statement)

    sa.event.listen(engine, "checkout", on_checkout)
    return lambda statement: statements.append(f"PRAGMA {statement}")


def losses(http: TestClient):
    found = http.get("/api/v1/runs/run-1/series?column=loss&buckets=5000").json()["series"]
    return found[0]["last"] if found else []


def test_a_full_disk_is_507_and_heals(
    http: TestClient, writer: Writer, problem: Problem, pragma: Callable[[str], None]
) -> None:
    writer.start("loss", *(f"stream_rms[{layer}]" for layer in range(2000)))
    noise = [[float(hash((row, column)) % 997) for column in range(2001)] for row in range(64)]
    assert writer.send(writer.batch(range(64), noise)).status_code == 200
    before = losses(http)
    pragma("max_page_count = 1")  # SQLite takes the present size: not one page may be added
    body = writer.body(writer.batch(range(64, 128), noise))
    told = problem(writer.post(body), 507, "storage-full")
    assert "free some space" in told["detail"]
    assert losses(http) == before
    pragma("max_page_count = 1000000")
    answer = writer.post(body).json()
    # Whatever the judge has found of the noise meanwhile comes along
    assert (answer["next_sequence"], answer["num_duplicates"]) == (3, 0)
    assert losses(http) == before * 2


def test_a_read_only_database_is_503_and_heals(
    http: TestClient, writer: Writer, problem: Problem, pragma: Callable[[str], None]
) -> None:
    writer.start()
    pragma("query_only = ON")
    body = writer.body(writer.batch([0], [1.0]))
    answer = writer.post(body)
    assert "writable" in problem(answer, 503, "storage-read-only")["detail"]
    assert int(answer.headers["retry-after"]) > 0
    problem(writer.declare(), 503, "storage-read-only")
    assert losses(http) == []
    pragma("query_only = OFF")
    assert writer.post(body).status_code == 200
    assert losses(http) == [1.0]


def test_a_database_that_is_gone_is_503(http: TestClient, writer: Writer, problem: Problem) -> None:
    writer.start()
    engine = http.app.state.collector.engine

    def refuse(*_):
        raise sa.exc.OperationalError("SELECT 1", {}, OSError("the network is down"))

    sa.event.listen(engine, "before_cursor_execute", refuse)
    problem(writer.send(), 503, "storage-unavailable")
    problem(http.get("/api/v1/runs"), 503, "storage-unavailable")
    problem(http.get("/readyz"), 503, "storage-unavailable")
    assert "foreshock_database_up 0.0" in http.get("/metrics").text
    assert http.get("/healthz").status_code == 200
    sa.event.remove(engine, "before_cursor_execute", refuse)
    assert writer.send().status_code == 200


def test_a_fault_of_ours_tells_no_secrets(
    http: TestClient, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreshock.server.api.runs.list_runs", lambda *_: 1 / 0)
    told = problem(http.get("/api/v1/runs"), 500, "internal")
    assert "division" not in str(told)


def test_a_writer_that_hits_a_fault_goes_on(
    http: TestClient, writer: Writer, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.start()
    with monkeypatch.context() as broken:
        broken.setattr("foreshock.server.store.append.Desk.load", lambda *_: 1 / 0)
        problem(writer.send(), 503, "storage-unavailable")
    assert writer.send().status_code == 200


def test_more_appends_than_may_wait_are_429_and_one_run_takes_at_most_half(
    http: TestClient, writer: Writer
) -> None:
    writer.start()
    collector = http.app.state.collector
    other = Writer(http, run_id="run-2").start()
    submission = read_body(writer.body(writer.batch([0], [1.0])), "run-1")
    of_other = read_body(other.body(other.batch([0], [2.0])), "run-2")
    with collector.engine.begin():  # holds the write lock, so the writer thread waits
        waiting = [collector.log.submit(submission)]
        with pytest.raises(BusyError) as busy:
            # The writer may have taken a group off the line, at most a full one, before it waits.
            for _ in range(2 * collector.settings.max_waiting_appends + 2):
                waiting.append(collector.log.submit(submission))
        waiting_of_other = collector.log.submit(of_other)
    assert busy.value.headers == {"Retry-After": "1"}
    receipts = [future.result(timeout=30) for future in waiting]
    assert sum(receipt.num_duplicates for receipt in receipts) == len(receipts) - 1
    assert waiting_of_other.result(timeout=30).num_duplicates == 0
    assert losses(http) == [1.0]


def submission_of(run_id: str, num_bytes: int = 100) -> Waiting:
    return Waiting(Submission(run_id, 0, 0, "s", 0, (), num_bytes), Future())


def test_a_trickle_waits_for_one_group_and_not_for_the_flood_before_it() -> None:
    line = Line(200)
    for _ in range(100):
        line.put(submission_of("flood", MAX_GROUP_BYTES // 4))
    line.put(submission_of("trickle"))
    group = line.take(1, 0.0)
    assert group is not None
    assert [one.submission.run_id for one in group] == ["flood", "trickle", "flood", "flood", "flood"]
    line.close()
    rest = 0
    while (group := line.take(1, 0.0)) is not None:
        rest += len(group)
    assert rest == 96


def test_bodies_that_are_held_are_bounded_and_small_ones_have_room_of_their_own() -> None:
    room = Room(2**20)
    with room.hold(900 * 1024):
        with pytest.raises(BusyError, match="again in a second"), room.hold(SMALL_BYTES + 1):
            pytest.fail("there was room")
        with room.hold(SMALL_BYTES):
            assert room.num_bytes == 900 * 1024 + SMALL_BYTES
    with room.hold(2**24):  # alone, everything fits
        pass
    assert room.num_bytes == 0


def test_what_is_held_is_given_back_whatever_becomes_of_the_append(http: TestClient, writer: Writer) -> None:
    writer.start()
    assert writer.post(b"nonsense").status_code == 400
    assert writer.send(writer.batch([0], [1.0])).status_code == 200
    with http.app.state.collector.room.hold(2**40):
        refused = writer.post(writer.body(writer.batch([1], [1.0])))
    assert refused.status_code == 429 and refused.headers["Retry-After"] == "1"
    assert http.app.state.collector.room.num_bytes == 0


def test_a_stopped_writer_refuses(http: TestClient, writer: Writer) -> None:
    writer.start()
    collector = http.app.state.collector
    submission = read_body(writer.body(), "run-1")
    stopper = threading.Thread(target=collector.log.stop)
    stopper.start()
    stopper.join(10)
    with pytest.raises(StorageError, match="stopping"):
        collector.log.submit(submission)

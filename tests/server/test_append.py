"""Appends: stored once, all or nothing, and exact about what is wrong."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer

from foreshock.server.store.schema import cursors, records
from foreshock.wire import CONTENT_TYPE, MAX_BODY_BYTES, Body, Layout, encode_body

pytestmark = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


def stored(http: TestClient, run_id: str = "run-1") -> list[bytes]:
    """The bodies of a run's records, in the order of the log."""
    order = (records.c.rank, records.c.attempt, records.c.sequence)
    with http.app.state.collector.engine.connect() as connection:
        rows = connection.execute(
            sa.select(records.c.body).where(records.c.run_id == run_id).order_by(*order)
        )
        return [row.body for row in rows]


def cursor_of(http: TestClient, run_id: str = "run-1") -> sa.Row:
    with http.app.state.collector.engine.connect() as connection:
        return connection.execute(sa.select(cursors).where(cursors.c.run_id == run_id)).one()


def with_records(writer: Writer, encoded: list[bytes]):
    return encode_body(Body(1, writer.run_id, 0, 0, writer.session, 0, encoded))


def test_records_are_stored_byte_for_byte_and_acknowledged(http: TestClient, writer: Writer) -> None:
    writer.declare()
    answer = writer.send(writer.layout("loss"), writer.batch([0, 1], [2.5, 2.25]))
    assert answer.json() == {"next_sequence": 2, "num_duplicates": 0, "alerts": []}
    assert stored(http) == writer.sent
    assert cursor_of(http).last_step == 1


def test_a_body_sent_again_is_acknowledged_and_stored_once(http: TestClient, writer: Writer) -> None:
    writer.start()
    body = writer.body(writer.batch([0], [1.0]), writer.batch([1], [1.0]))
    first, again = writer.post(body), writer.post(body)
    assert first.json()["next_sequence"] == again.json()["next_sequence"] == 3
    assert again.json()["num_duplicates"] == 2
    assert stored(http) == writer.sent


def test_a_body_that_is_half_known_stores_the_other_half(http: TestClient, writer: Writer) -> None:
    writer.start()
    known, new = writer.batch([0], [1.0]), writer.batch([1], [1.0])
    writer.send(known)
    answer = writer.send(known, new)
    assert answer.json() == {"next_sequence": 3, "num_duplicates": 1, "alerts": []}
    assert len(stored(http)) == 3


def test_an_empty_body_is_a_heartbeat(http: TestClient, writer: Writer) -> None:
    writer.start()
    before = http.get("/api/v1/runs/run-1").json()["heartbeat_at"]
    assert writer.send().json()["next_sequence"] == 1
    assert http.get("/api/v1/runs/run-1").json()["heartbeat_at"] > before


def test_a_gap_names_the_expected_sequence(http: TestClient, writer: Writer, problem: Problem) -> None:
    writer.start()
    writer.take(3)
    told = problem(writer.send(writer.batch([0], [1.0])), 409, "sequence-gap")
    assert told["expected_sequence"] == 1
    assert len(stored(http)) == 1


def test_a_gap_inside_a_body_stores_nothing_of_it(http: TestClient, writer: Writer, problem: Problem) -> None:
    writer.start()
    first = writer.batch([0], [1.0])
    writer.take()
    told = problem(writer.send(first, writer.batch([1], [1.0])), 409, "sequence-gap")
    assert told["expected_sequence"] == 2
    assert len(stored(http)) == 1


def test_a_bad_record_takes_its_whole_body_with_it(
    http: TestClient, writer: Writer, problem: Problem
) -> None:
    writer.start("loss")
    good, bad = writer.batch([0], [1.0]), writer.batch([1], [[1.0, 2.0]])
    told = problem(writer.send(good, bad), 422, "wrong-length")
    assert "2 values a step" in told["detail"] and "1 columns" in told["detail"]
    assert len(stored(http)) == 1
    assert cursor_of(http).next_sequence == 1


def test_a_batch_of_an_undeclared_layout_is_refused(writer: Writer, problem: Problem) -> None:
    writer.start()
    problem(writer.send(writer.batch([0], [1.0], layout_id=9)), 422, "unknown-layout")


def test_a_layout_may_be_declared_again_but_not_changed(writer: Writer, problem: Problem) -> None:
    writer.start("loss")
    assert writer.send(writer.layout("loss")).status_code == 200
    problem(writer.send(writer.layout("loss", "grad_norm")), 422, "layout-changed")


def test_steps_that_go_back_are_refused_and_a_new_attempt_takes_them(
    http: TestClient, writer: Writer, problem: Problem
) -> None:
    writer.start()
    writer.send(writer.batch([5, 6], [1.0, 1.0]))
    problem(writer.send(writer.batch([6], [1.0])), 422, "step-went-back")
    writer.attempt, writer.next_sequence = 1, 0
    writer.start()
    assert writer.send(writer.batch([3], [1.0])).status_code == 200
    run = http.get("/api/v1/runs/run-1").json()
    assert run["attempts"] == [0, 1] and run["attempt"] == 1 and run["last_step"] == 3


def test_streams_of_one_attempt_keep_their_own_steps(writer: Writer) -> None:
    writer.start()
    writer.send(writer.batch([10], [1.0]))
    slow = writer.layout("canary_gain", layout_id=1, stream="composite")
    assert writer.send(slow, writer.batch([0, 10], [1.0, 1.1], layout_id=1)).status_code == 200


def test_only_the_stream_of_steps_moves_the_watermark(http: TestClient, writer: Writer) -> None:
    writer.start()
    writer.send(writer.layout("canary_gain", layout_id=1, stream="composite"))
    writer.send(writer.batch([70], [1.0], layout_id=1))
    assert cursor_of(http).last_step == -1
    writer.send(writer.batch([60], [1.0]))
    assert cursor_of(http).last_step == 60


def test_an_undeclared_run_or_rank_is_unknown(writer: Writer, problem: Problem) -> None:
    problem(writer.send(), 404, "unknown-run")
    writer.start()
    assert "rank 3" in problem(writer.send(rank=3), 404, "unknown-run")["detail"]


def test_another_process_cannot_write_the_same_attempt(
    http: TestClient, writer: Writer, problem: Problem
) -> None:
    writer.start()
    told = problem(writer.send(writer.batch([0], [1.0]), session="other"), 409, "attempt-taken")
    assert told["next_attempt"] == 1
    assert len(stored(http)) == 1


def test_a_body_for_another_run_is_refused(writer: Writer, problem: Problem) -> None:
    writer.start()
    problem(writer.send(run_id="run-2"), 422, "invalid")


@pytest.mark.parametrize("damage", [b"", b"\xc1", b"nonsense", b"\x80", b"{}"])
def test_nonsense_is_malformed(writer: Writer, problem: Problem, damage: bytes) -> None:
    writer.start()
    problem(writer.post(damage), 400, "malformed")


def test_a_truncated_body_or_record_is_malformed_and_harms_nothing(
    http: TestClient, writer: Writer, problem: Problem
) -> None:
    writer.start()
    whole = writer.body(writer.batch([0], [1.0]))
    for end in range(0, len(whole), 7):
        problem(writer.post(whole[:end]), 400, "malformed")
    torn = writer.sent[-1][:-5]
    problem(writer.post(with_records(writer, [torn])), 400, "malformed")
    assert len(stored(http)) == 1
    assert writer.post(whole).status_code == 200


def test_a_version_from_the_future_is_told_to_update(writer: Writer, problem: Problem) -> None:
    writer.start()
    told = problem(writer.send(version=2), 400, "unsupported-version")
    assert "update the collector" in told["detail"]


def test_a_body_over_the_limit_is_refused_however_it_is_sent(
    http: TestClient, writer: Writer, problem: Problem
) -> None:
    writer.start()
    large = bytes(MAX_BODY_BYTES + 1)
    problem(writer.post(large), 413, "too-large")
    headers = {"Content-Type": CONTENT_TYPE}
    pieces = (large[start : start + 2**20] for start in range(0, len(large), 2**20))
    told = http.post("/api/v1/runs/run-1/append", content=pieces, headers=headers)
    problem(told, 413, "too-large")


def test_a_declaration_of_megabytes_is_refused(http: TestClient, problem: Problem) -> None:
    problem(http.post("/api/v1/runs", content=bytes(2**20 + 1)), 413, "too-large")


def test_tombstones_move_the_cursor_and_count_what_was_lost(http: TestClient, writer: Writer) -> None:
    writer.start()
    gone = writer.tombstone(10, 640)
    answer = writer.send(gone, writer.batch([700], [1.0]))
    assert answer.json()["next_sequence"] == 12
    run = http.get("/api/v1/runs/run-1").json()
    assert (run["cursors"][0]["lost_records"], run["cursors"][0]["lost_frames"]) == (10, 640)


def test_a_tombstone_over_records_that_had_arrived_loses_only_the_others(
    http: TestClient, writer: Writer
) -> None:
    writer.start()
    writer.send(writer.batch([0], [1.0]), writer.batch([1], [1.0]))
    writer.next_sequence = 2
    assert writer.send(writer.tombstone(4, 40)).json()["next_sequence"] == 6
    assert cursor_of(http).lost_records == 3


def test_nan_and_infinities_come_back_bit_for_bit(http: TestClient, writer: Writer) -> None:
    writer.start("loss", "grad_norm")
    values = np.array([[1.0, np.nan], [np.inf, -np.inf], [-0.0, 1e-45]], np.float32)
    writer.send(writer.batch([0, 1, 2], values))
    found = http.get("/api/v1/runs/run-1/series?column=loss&column=grad_norm").json()
    loss, grad_norm = found["series"]
    assert loss["last"] == [1.0, "Infinity", -0.0] and loss["nonfinite"] == [0, 1, 0]
    assert grad_norm["first"] == ["NaN", "-Infinity", float(np.float32(1e-45))]
    assert grad_norm["min"] == ["NaN", "-Infinity", float(np.float32(1e-45))]
    assert grad_norm["mean"][:2] == ["NaN", "-Infinity"]
    latest = http.get("/api/v1/runs/run-1/latest").json()
    assert latest["step"] == 2 and latest["values"]["loss"] == 0.0


def test_a_run_finishes_when_all_ranks_have_and_crashes_when_one_does(
    http: TestClient, writer: Writer
) -> None:
    writer.start()
    other = type(writer)(http, rank=1, session="session-2").start()
    writer.send(writer.event("finished", 5))
    assert http.get("/api/v1/runs/run-1").json()["state"] == "running"
    other.send(other.event("finished", 5))
    assert http.get("/api/v1/runs/run-1").json()["state"] == "finished"
    other.send(other.batch([9], [1.0]))
    assert http.get("/api/v1/runs/run-1").json()["state"] == "running"
    other.send(other.event("crashed", 9, error="OverflowError"))
    writer.send(writer.batch([9], [1.0]))
    assert http.get("/api/v1/runs/run-1").json()["state"] == "running"
    assert [event["kind"] for event in http.get("/api/v1/runs/run-1/events").json()["events"]] == [
        "finished",
        "finished",
        "crashed",
    ]


def test_many_writers_at_once_lose_and_double_nothing(http: TestClient, writer: Writer) -> None:
    writers = [type(writer)(http, f"run-{number}", session=f"s{number}").start() for number in range(12)]

    def write(one: Writer) -> None:
        for step in range(15):
            assert one.send(one.batch([step], [float(step)])).status_code == 200

    with ThreadPoolExecutor(len(writers)) as pool:
        list(pool.map(write, writers))
    for one in writers:
        assert stored(http, one.run_id) == one.sent


def test_a_layout_of_very_many_columns_is_stored(http: TestClient, writer: Writer) -> None:
    names = tuple(f"layer_amax_forward_max[{layer}]" for layer in range(20_000))
    writer.declare()
    assert writer.send(Layout(writer.take(), 0, "step", names)).status_code == 200
    assert writer.send(writer.batch([0], [range(20_000)])).status_code == 200
    found = http.get("/api/v1/runs/run-1/series", params={"column": names[-1]}).json()
    assert found["series"][0]["last"] == [19_999.0]


def test_a_body_that_would_unpack_to_too_much_is_refused_before_it_is_unpacked(writer, problem):
    writer.start(*(f"own_{number}" for number in range(200)))
    batches = [
        writer.batch(range(start, start + 60_000), np.zeros((60_000, 200))) for start in (0, 60_000, 120_000)
    ]
    body = writer.body(*batches)
    assert len(body) < 2**20
    told = problem(writer.post(body), 413, "too-large")
    assert "3 records would unpack to" in told["detail"] and "fewer records" in told["detail"]
    assert writer.send(batches[0]).json()["next_sequence"] == 2


@pytest.mark.parametrize("last_alert", [-1, 2**31, 2**64 - 1])
def test_an_impossible_last_alert_is_refused_before_anything_is_stored(
    http: TestClient, writer: Writer, problem: Problem, last_alert: int
) -> None:
    writer.start()
    told = problem(writer.send(writer.batch([0], [1.0]), last_alert=last_alert), 400, "malformed")
    assert str(last_alert) in told["detail"]
    assert len(stored(http)) == 1
    writer.next_sequence = 1
    assert writer.send(writer.batch([0], [1.0]), last_alert=2**31 - 1).status_code == 200


def test_a_changed_layout_names_the_first_difference(writer: Writer, problem: Problem) -> None:
    writer.start("loss", "grad_norm")
    told = problem(writer.send(writer.layout("loss", "my/own")), 422, "layout-changed")
    assert "column 1 as 'my/own', but it was 'grad_norm'" in told["detail"]
    writer.next_sequence = 1
    told = problem(writer.send(writer.layout("loss", "grad_norm", stream="slow")), 422, "layout-changed")
    assert "stream 'slow', but was stream 'step'" in told["detail"]


def test_an_event_with_too_much_to_say_is_refused(http: TestClient, writer: Writer, problem: Problem) -> None:
    writer.start()
    told = problem(writer.send(writer.event("note", text="x" * 16_384)), 422, "invalid")
    assert "at most 16384" in told["detail"]
    writer.next_sequence = 1
    assert writer.send(writer.event("note", text="x" * 16_000)).status_code == 200

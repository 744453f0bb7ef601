"""Moves between engines: everything arrives, however often the move is killed."""

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.server.vault.conftest import fill
from typer.testing import CliRunner

from foreshock.server.db_commands import db
from foreshock.server.errors import DatabaseInUseError, MoveError
from foreshock.server.store.engine import open_database, open_to_read, reading, writing
from foreshock.server.store.schema import (
    acknowledgements,
    alert_transitions,
    alerts,
    chunks,
    metadata,
    records,
    runs,
    silences,
)
from foreshock.server.vault.move import move, moves, refuse_unfinished
from foreshock.server.vault.verify import verify


def everything(address: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables."""
    with open_to_read(address) as database, reading(database.engine) as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)
            for table in metadata.sorted_tables
        }


@pytest.mark.postgres
@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_there_and_back_again_changes_nothing(backend: str, tmp_path: Path) -> None:
    here, back = str(tmp_path / "here.db"), str(tmp_path / "back.db")
    fill(here)
    with open_database(here) as database, writing(database.engine) as connection:
        connection.execute(sa.update(alerts).values(value=float("-inf")))
        connection.execute(sa.update(runs).where(runs.c.run_id == "run-1").values(pinned=True, seed=2**62))
    before = everything(here)
    assert all(
        before[table.name]
        for table in (alerts, alert_transitions, acknowledgements, silences, chunks, records)
    )
    result = CliRunner().invoke(db, ["move", backend, "--db", here])
    assert result.exit_code == 0 and "2 runs" in result.stdout, result.stderr
    assert everything(backend) == before and list(verify(backend)) == []
    move(backend, back)
    assert everything(back) == everything(here) == before and list(verify(back)) == []


@pytest.mark.postgres
@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_nan_goes_to_sqlite_as_none(backend: str, tmp_path: Path) -> None:
    fill(backend, num_runs=1)
    with open_database(backend) as database, writing(database.engine) as connection:
        connection.execute(sa.update(alert_transitions).values(value=float("nan")))
    move(backend, str(tmp_path / "a.db"))
    values = {row[5] for row in everything(str(tmp_path / "a.db"))["alert_transitions"]}
    assert values == {None}


# Slices so small that there is time to be killed between any two of them
KILLED = """
import sys, time
import foreshock.server.vault.rows as rows
import foreshock.server.vault.move as module
rows.SLICE_ROWS = 7
def tell(what, done, total):
    print(what, done, flush=True)
    time.sleep(0.003)
module.move(sys.argv[1], sys.argv[2], tell)
"""


@pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_a_move_that_is_killed_goes_on_where_it_stopped(backend: str, tmp_path: Path) -> None:
    here = str(tmp_path / "here.db")
    fill(here)
    seen: list[str] = []
    for lines_before_kill in (1, 8, 13, 21):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, here, backend], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines_before_kill)]
        process.kill()
        told += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        seen += told
        with open_database(backend) as half, pytest.raises(MoveError, match="is not finished"):
            refuse_unfinished(half)
    assert not any(line.startswith("comparing") for line in seen)
    move(here, backend)
    assert everything(backend) == everything(here)
    with open_database(backend) as whole:
        refuse_unfinished(whole)
    # Nothing was sent twice but, at most, the slice that was under way at each kill
    assert len(seen) == len(set(seen))


def test_a_source_that_went_on_meanwhile_is_refused(tmp_path: Path) -> None:
    here, there = str(tmp_path / "here.db"), str(tmp_path / "there.db")
    fill(here, num_runs=1)
    half_moved(here, there)
    with open_database(here) as database, writing(database.engine) as connection:
        connection.execute(sa.update(runs).values(heartbeat_at=9e9))
    with pytest.raises(MoveError, match="has changed since it began: give an empty database"):
        move(here, there)


def half_moved(here: str, there: str) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if what == "records":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(here, there, stop)


def test_what_arrived_otherwise_is_told_and_stays_unfinished(tmp_path: Path) -> None:
    here, there = str(tmp_path / "here.db"), str(tmp_path / "there.db")
    fill(here, num_runs=1)
    half_moved(here, there)
    with sqlite3.connect(there) as connection:
        connection.execute("UPDATE records SET body = x'00' WHERE sequence = 0")
    connection.close()
    for _ in range(2):
        with pytest.raises(MoveError, match="table records of run run-0 differs"):
            move(here, there)


def test_only_an_empty_database_is_moved_into(tmp_path: Path) -> None:
    here, there = str(tmp_path / "here.db"), str(tmp_path / "there.db")
    fill(here, num_runs=1)
    fill(there, num_runs=1)
    before = everything(there)
    with pytest.raises(MoveError, match="is not empty"):
        move(here, there)
    assert everything(there) == before
    with open_database(there) as database:
        assert not sa.inspect(database.engine).has_table(moves.name)


@pytest.mark.postgres
@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_database_that_is_served_is_not_moved(backend: str, tmp_path: Path) -> None:
    here = str(tmp_path / "here.db")
    with open_database(here), pytest.raises(DatabaseInUseError):
        move(here, backend)
    with open_database(backend) as database, reading(database.engine) as connection:
        connection.execute(sa.select(runs))
        for pair in ((here, backend), (backend, here)):
            with pytest.raises(MoveError, match=r"a collector is serving .*: stop it"):
                move(*pair)

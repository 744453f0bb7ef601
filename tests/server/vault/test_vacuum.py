"""Free space goes back to the file system, beside a collector that serves."""

import json
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from foreshock.server.db_commands import db
from foreshock.server.store.engine import open_database, writing
from foreshock.server.store.schema import chunks, envelopes, records


def vacuum(address: str) -> tuple[int, int]:
    """Bytes before and after."""
    result = CliRunner().invoke(db, ["vacuum", "--db", address, "--json"])
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    return told["bytes_before"], told["bytes_after"]


@pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_what_was_deleted_is_given_back_beside_a_collector(filled: str) -> None:
    with open_database(filled) as database:
        with writing(database.engine) as connection:
            for table in (records, chunks, envelopes):
                connection.execute(sa.delete(table))
        before, after = vacuum(filled)
    assert before - after > 100_000


def test_a_file_that_cannot_shrink_is_written_anew_once(filled: str) -> None:
    with sqlite3.connect(filled) as connection:
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
        connection.execute("DELETE FROM chunks")
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (0,)
    connection.close()
    with open_database(filled):
        refused = CliRunner().invoke(db, ["vacuum", "--db", filled])
    assert refused.exit_code == 2 and "another collector already has" in refused.stderr
    before, after = vacuum(filled)
    assert after == Path(filled).stat().st_size < before
    with sqlite3.connect(filled) as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    connection.close()


def test_nothing_that_is_free_is_kept(filled: str) -> None:
    with sqlite3.connect(filled) as connection:
        connection.execute("DELETE FROM chunks")
    connection.close()
    vacuum(filled)
    with sqlite3.connect(filled) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    connection.close()

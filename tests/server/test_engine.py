"""Opening the database, and refusing what cannot be opened without harm."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from foreshock.server.errors import DatabaseError, DatabaseInUseError, NewerDatabaseError
from foreshock.server.store.engine import PAGE_BYTES, open_database, reading
from foreshock.server.store.schema import metadata, runs


@pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_migrations_make_the_schema_and_a_second_start_changes_nothing(backend: str) -> None:
    for _ in range(2):
        with open_database(backend) as database, database.engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []


@pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_a_database_newer_than_the_code_is_refused_and_left_alone(backend: str) -> None:
    with open_database(backend) as database, database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for _ in range(2):
        with pytest.raises(NewerDatabaseError, match=r"9999.*Update foreshock"):
            open_database(backend)


def test_sqlite_is_set_up_to_keep_what_it_acknowledged(tmp_path: Path) -> None:
    with open_database(str(tmp_path / "a.db")) as database, reading(database.engine) as connection:
        wanted = {"journal_mode": "wal", "synchronous": 2, "page_size": PAGE_BYTES, "auto_vacuum": 2}
        assert {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted} == wanted


def test_a_second_collector_on_one_file_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with open_database(str(path)):
        for same in (path, link):
            with pytest.raises(DatabaseInUseError, match="stop it, or give"):
                open_database(str(same))
    open_database(str(path)).close()


def test_someone_elses_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "music.db"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE songs (title)")
    theirs.close()
    with pytest.raises(DatabaseError, match="not foreshock's \\(songs"):
        open_database(str(path))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/proc/none.db", "folder that exists"),
        ("/no/such/folder/a.db", "folder that exists"),
        ("mysql://host/name", "SQLite file or an address"),
        ("sqlite://", "SQLite file or an address"),
        ("postgresql://user:secret@127.0.0.1:1/name", "Check that it can be read"),
        ("://", "no database address"),
    ],
)
def test_what_cannot_be_a_database_is_told_in_one_line(address: str, words: str) -> None:
    with pytest.raises(DatabaseError, match=words) as told:
        open_database(address)
    assert "\n" not in told.value.detail and "secret" not in told.value.detail


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("not a database, but long enough to look like one " * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        open_database(str(path))
    assert path.read_text().startswith("not a database")


def test_a_read_only_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    open_database(str(path)).close()
    if os.geteuid() == 0:
        address = f"sqlite:///file:{path}?mode=ro&uri=true"
    else:
        path.chmod(stat.S_IRUSR)
        address = str(path)
    with pytest.raises(DatabaseError, match=r"readonly|read-only|cannot"):
        open_database(address)


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    with open_database(str(tmp_path / "a.db")) as database, database.engine.begin() as writing:
        writing.execute(sa.delete(runs))
        with reading(database.engine) as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(runs)).scalar_one() == 0


def test_the_lock_file_stands_beside_the_database(tmp_path: Path) -> None:
    open_database(str(tmp_path / "a.db")).close()
    assert Path(tmp_path / "a.db.lock").exists()

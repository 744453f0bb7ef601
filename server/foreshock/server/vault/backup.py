"""A backup: one SQLite file that holds the database as it stood at one moment, beside a live collector.

The copy gets its name only after it was checked and written through to the disk.
"""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from foreshock.server.errors import BackupError
from foreshock.server.store.engine import (
    Database,
    FileLock,
    cause,
    connect_to_read,
    open_database,
    open_to_read,
    reading,
    writing,
)
from foreshock.server.store.schema import metadata
from foreshock.server.store.upgrade import known_revision, newest_revision
from foreshock.server.vault.progress import Tell, silent
from foreshock.server.vault.rows import count_rows, read_slices

PAGES_AT_ONCE: Final = 256
# What SQLite keeps beside a file
_LOG: Final = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Backup:
    """What was written."""

    file: str
    database: str
    revision: str
    num_bytes: int


def back_up(address: str, file: Path, *, force: bool = False, tell: Tell = silent) -> Backup:
    """Writes a backup of the database at `address` to `file`; raises BackupError and DatabaseError.

    A SQLite file may be of any revision that is known, a PostgreSQL must be of the newest.
    """
    if file.exists() and not force:
        raise BackupError(f"{file} exists already: give another name, or --force to overwrite it")
    partial = file.with_name(file.name + ".partial")
    with open_to_read(address) as source:
        is_file = source.engine.dialect.name == "sqlite"
        if is_file and file.resolve() == Path(source.shown).resolve():
            raise BackupError(f"{file} is the database itself: give the backup a name of its own")
        try:
            _remove(partial)
            if is_file:
                _copy_file(Path(source.shown), partial, tell)
            else:
                _copy_tables(source, partial, tell)
            revision = _check(partial, tell)
            _give_name(partial, file)
        except (OSError, sqlite3.Error, SQLAlchemyError) as error:
            raise BackupError(f"cannot back up {source.shown} to {file}: {cause(error)}") from error
        finally:
            _remove(partial)
        return Backup(str(file), source.shown, revision, file.stat().st_size)


def _copy_file(source: Path, partial: Path, tell: Tell) -> None:
    with closing(connect_to_read(source)) as reader, closing(sqlite3.connect(partial)) as copy:
        # While this snapshot is held, what the collector writes does not make the copy begin anew
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()

        def progress(_: int, remaining: int, total: int) -> None:
            tell("copying", total - remaining, total)

        reader.backup(copy, pages=PAGES_AT_ONCE, progress=progress, sleep=0.0)


def _copy_tables(source: Database, partial: Path, tell: Tell) -> None:
    """Every row that one snapshot shows."""
    with open_database(str(partial)) as target, reading(source.engine) as connection:
        if (revision := known_revision(connection)) != newest_revision():
            raise BackupError(
                f"{source.shown} is at revision {revision}, this foreshock at {newest_revision()}: start a "
                "collector on it once, which migrates it"
            )
        for table in metadata.sorted_tables:
            done, total = 0, count_rows(connection, table)
            for rows in read_slices(connection, table, None):
                with writing(target.engine) as writer:
                    writer.execute(sa.insert(table), rows)
                done += len(rows)
                tell(table.name, done, total)


def _check(partial: Path, tell: Tell) -> str:
    """The copy's revision; raises BackupError where SQLite finds fault with it."""
    tell("checking", 0, 1)
    with closing(sqlite3.connect(partial)) as copy:
        found = [row[0] for row in copy.execute("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise BackupError(
                f"the copy is damaged ({found[0]}), so it was thrown away: check the database itself with "
                "foreshock db verify"
            )
        revision = str(copy.execute("SELECT version_num FROM alembic_version").fetchone()[0])
    tell("checking", 1, 1)
    return revision


def _give_name(partial: Path, file: Path) -> None:
    """Renames what is on the disk to its last byte; a file that a collector serves is left alone."""
    lock = FileLock.take(file) if file.exists() else None
    try:
        _sync(partial)
        # The log of a file that is overwritten would be taken for the new one's
        _remove_log(file)
        partial.rename(file)
        _sync(file.parent)
    finally:
        if lock is not None:
            lock.release()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.with_name(file.name + ".lock").unlink(missing_ok=True)
    _remove_log(file)


def _remove_log(file: Path) -> None:
    for suffix in _LOG:
        file.with_name(file.name + suffix).unlink(missing_ok=True)

"""Gives space that deleted rows have left back to the file system."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from foreshock.server.errors import DatabaseError
from foreshock.server.store.engine import BUSY_TIMEOUT_MS, FileLock, cause, open_to_read, reading
from foreshock.server.store.schema import metadata
from foreshock.server.store.space import (
    PAGES_AT_ONCE,
    can_shrink,
    fold_log,
    free_pages,
    give_back,
    vacuum_tables,
)
from foreshock.server.vault.progress import Tell, silent


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """The database's size before and after."""

    database: str
    bytes_before: int
    bytes_after: int


def vacuum(address: str, tell: Tell = silent) -> Vacuumed:
    """Gives back what is free, beside a collector that is serving.

    A file from before 0.2 is written anew as a whole, once, for which no collector may be on it.
    Raises DatabaseError.
    """
    with open_to_read(address) as database:
        try:
            if database.engine.dialect.name == "sqlite":
                return _vacuum_file(Path(database.shown), tell)
            before = _postgres_bytes(database.engine)
            for number, table in enumerate(metadata.sorted_tables):
                tell("vacuuming", number, len(metadata.sorted_tables))
                vacuum_tables(database.engine, [table])
            return Vacuumed(database.shown, before, _postgres_bytes(database.engine))
        except (sqlite3.Error, SQLAlchemyError) as error:
            raise DatabaseError(f"cannot vacuum {database.shown}: {cause(error)}") from error


def _vacuum_file(path: Path, tell: Tell) -> Vacuumed:
    before = path.stat().st_size
    with closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)) as connection:
        if can_shrink(connection):
            total = left = free_pages(connection)
            while left > 0:
                connection.execute("BEGIN IMMEDIATE")
                give_back(connection)
                connection.execute("COMMIT")
                # A collector that is serving frees pages meanwhile, and takes some
                left = min(left - PAGES_AT_ONCE, free_pages(connection))
                tell("vacuuming", total - max(left, 0), total)
        else:
            _write_anew(path, connection)
        fold_log(connection)
    return Vacuumed(str(path), before, path.stat().st_size)


def _write_anew(path: Path, connection: sqlite3.Connection) -> None:
    lock = FileLock.take(path)
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")
    finally:
        lock.release()


def _postgres_bytes(engine: sa.Engine) -> int:
    with reading(engine) as connection:
        size = sa.func.pg_database_size(sa.func.current_database())
        return int(connection.execute(sa.select(size)).scalar_one())

"""Space on the disk: what deleted rows have left is given back, a little at a time."""

import sqlite3
from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa

# One turn at the write lock: 2 MiB of pages, a few milliseconds
PAGES_AT_ONCE: Final = 64


def free_pages(connection: sqlite3.Connection) -> int:
    """Pages of a SQLite file that hold nothing."""
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def can_shrink(connection: sqlite3.Connection) -> bool:
    """Whether free pages can be given back one by one: not in files from before that was set."""
    return bool(connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 2)


def give_back(connection: sqlite3.Connection) -> None:
    """Takes some free pages off the end of a SQLite file; it is shorter after the next checkpoint."""
    # Of a statement without columns Python takes one step, and a step frees one page
    for _ in range(PAGES_AT_ONCE):
        connection.execute("PRAGMA incremental_vacuum(1)")


def fold_log(connection: sqlite3.Connection) -> None:
    """Folds the write-ahead log into the file and empties it, unless a reader still needs it."""
    patience = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    # Waiting for readers here would keep every writer waiting
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")


def vacuum_tables(engine: sa.Engine, tables: Iterable[sa.Table]) -> None:
    """PostgreSQL's plain VACUUM, beside which everybody reads and writes on."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in tables:
            connection.exec_driver_sql(f"VACUUM {table.name}")

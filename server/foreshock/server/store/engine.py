"""Opens the database: one SQLite file with one collector on it, or a PostgreSQL server.

Whoever writes uses `writing`: on SQLite its transaction takes the write lock at once (BEGIN IMMEDIATE),
since one that reads first and writes later cannot wait for the lock, and writers of this process take
turns. Readers use `reading`, take no lock and see one snapshot.
"""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from foreshock.server.errors import (
    DatabaseError,
    DatabaseInUseError,
    FullStorageError,
    ReadOnlyStorageError,
    StorageError,
)
from foreshock.server.nonfinite import encode_json
from foreshock.server.store.turns import Turns
from foreshock.server.store.upgrade import known_revision, upgrade

APPLICATION: Final = "foreshock"
PAGE_BYTES: Final = 4096
CHECKPOINT_BYTES: Final = 32 * 2**20
BUSY_TIMEOUT_MS: Final = 10_000
# The execution option of an engine under which its writers' turns are kept
_TURNS: Final = "foreshock_turns"


@dataclass(slots=True)
class FileLock:
    """An operating-system lock beside the SQLite file; it ends with the process, however that ends."""

    path: Path
    descriptor: int

    @classmethod
    def take(cls, database: Path) -> Self:
        """Raises DatabaseInUseError where another collector holds the lock."""
        path = database.with_name(database.name + ".lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DatabaseError(
                f"cannot write beside {database}: {error.strerror}. Give a file in a folder that exists and "
                "can be written: --db PATH or FORESHOCK_DB"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise DatabaseError(f"cannot lock {path}: {error.strerror}") from error
            raise DatabaseInUseError(
                f"another collector already has {database}: stop it, or give this one a file of its own "
                "with --db PATH or FORESHOCK_DB"
            ) from error
        return cls(path, descriptor)

    def release(self) -> None:
        """Gives the file to the next collector; the empty lock file stays."""
        os.close(self.descriptor)


@dataclass(slots=True)
class Database:
    """An open, migrated database and, on SQLite, the lock that keeps other collectors off it."""

    engine: sa.Engine
    lock: FileLock | None

    @property
    def shown(self) -> str:
        """The file's path, or the server's address without its password."""
        url = self.engine.url
        is_file = url.get_backend_name() == "sqlite"
        return str(url.database) if is_file else url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Closes every connection; on SQLite the last one folds the write-ahead log into the file."""
        self.engine.dispose()
        if self.lock is not None:
            self.lock.release()
            self.lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_database(address: str) -> Database:
    """Opens, creates and migrates the database at a path or an SQLAlchemy address.

    Raises DatabaseError, with what to do, where that is not possible.
    """
    url = _url(address)
    lock = FileLock.take(Path(url.database or "")) if url.get_backend_name() == "sqlite" else None
    engine = _sqlite_engine(url) if lock else _postgres_engine(url)
    database = Database(engine, lock)
    try:
        upgrade(engine)
    except SQLAlchemyError as error:
        database.close()
        raise _unusable(database, error) from error
    except DatabaseError:
        database.close()
        raise
    return database


def has_database(address: str) -> bool:
    """Whether there is something to open: an SQLite file, or a server, which is taken to be there."""
    url = _url(address)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


def open_to_read(address: str) -> Database:
    """Opens a database beside the collector that may be serving it: nothing is created, migrated, locked.

    Raises DatabaseError where there is none, NewerDatabaseError for one of a newer foreshock.
    """
    url = _url(address)
    is_file = url.get_backend_name() == "sqlite"
    if is_file and not Path(url.database or "").is_file():
        raise DatabaseError(f"there is no database {url.database}: give one with --db PATH or FORESHOCK_DB")
    database = Database(_sqlite_reader(url) if is_file else _postgres_engine(url), None)
    try:
        with reading(database.engine) as connection:
            known_revision(connection)
    except SQLAlchemyError as error:
        database.close()
        raise _unusable(database, error) from error
    except DatabaseError:
        database.close()
        raise
    return database


def _unusable(database: Database, error: SQLAlchemyError) -> DatabaseError:
    return DatabaseError(
        f"cannot use the database {database.shown}: {cause(error)}. Check that it can be read and written, "
        "or give another with --db PATH or FORESHOCK_DB"
    )


def _url(address: str) -> sa.URL:
    if "://" not in address:
        return sa.URL.create("sqlite+pysqlite", database=str(Path(address).expanduser().resolve()))
    try:
        url = sa.make_url(address)
    except ArgumentError as error:
        raise DatabaseError(f"{address!r} is no database address: {error}") from error
    match url.drivername.split("+")[0]:
        case "postgresql" | "postgres":
            return url.set(drivername="postgresql+psycopg")
        case "sqlite" if url.database and url.database != ":memory:":
            return url.set(drivername="sqlite+pysqlite")
    raise DatabaseError(
        f"the database {url.render_as_string()} cannot be used: give the path of an SQLite file or an "
        "address such as postgresql://user:password@host/name"
    )


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(
        url,
        json_serializer=_to_json,
        # What is sent and stored has no business in an error's text, which goes to the log
        hide_parameters=True,
        pool_size=16,
        max_overflow=48,
        execution_options={_TURNS: Turns()},
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _sqlite_reader(url: sa.URL) -> sa.Engine:
    def connect() -> sqlite3.Connection:
        return connect_to_read(Path(url.database or ""))

    engine = sa.create_engine(url, creator=connect, execution_options={"only_reads": True})
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection to a SQLite file that cannot change it, nor its journal mode."""
    uri = f"file:{quote(str(path))}?mode=ro"
    return sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000, check_same_thread=False
    )


def _postgres_engine(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url,
        json_serializer=_to_json,
        hide_parameters=True,
        pool_size=16,
        max_overflow=48,
        pool_pre_ping=True,
        connect_args={"application_name": APPLICATION},
        execution_options={_TURNS: nullcontext()},
    )


def _to_json(value: Any) -> str:
    return encode_json(value).decode()


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    if cursor.execute("PRAGMA page_count").fetchone() == (0,):
        # Both count only before the file's first page is written. Without the second, deleted pages could
        # be given back only by writing the whole file anew.
        cursor.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_BYTES // PAGE_BYTES}")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA cache_size = -2048")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    only_reads = connection.get_execution_options().get("only_reads", False)
    connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that reads one snapshot and never waits for, nor holds up, a writer."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            # Its default shows each statement what was committed in between.
            yield connection.execution_options(isolation_level="REPEATABLE READ")
        else:
            yield connection.execution_options(only_reads=True)


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that writes: all of it is stored when it ends, or nothing where it raises."""
    with engine.get_execution_options()[_TURNS], engine.begin() as connection:
        yield connection


def cause(error: Exception) -> str:
    """What the database or the operating system said, in one line."""
    said = getattr(error, "orig", None) or getattr(error, "strerror", None) or error
    return (str(said).strip() or type(said).__name__).splitlines()[0]


def storage_error(error: SQLAlchemyError) -> StorageError:
    """The problem that a failed transaction becomes; nothing of the transaction is stored."""
    original = error.orig if isinstance(error, DBAPIError) else None
    said = cause(error)
    code = getattr(original, "sqlite_errorcode", None)
    state = getattr(original, "sqlstate", None)
    retry = {"Retry-After": "5"}
    if (code is not None and code & 0xFF == sqlite3.SQLITE_FULL) or state == "53100":
        return FullStorageError(
            f"nothing was stored ({said}): free some space; probes keep what they have and send it again",
            headers=retry,
        )
    if (code is not None and code & 0xFF == sqlite3.SQLITE_READONLY) or state == "25006":
        return ReadOnlyStorageError(
            f"nothing was stored ({said}): make the database writable; probes send again by themselves",
            headers=retry,
        )
    return StorageError(f"nothing was stored ({said}): probes send again by themselves", headers=retry)

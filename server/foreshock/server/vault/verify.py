"""Verifies a database to its last byte, beside the collector that may be serving it.

Each run is read in a snapshot of its own and row by row, so neither memory nor the write-ahead log grows
with the database.
"""

from collections.abc import Iterator

import sqlalchemy as sa
import zstandard
from sqlalchemy.exc import SQLAlchemyError

from foreshock.server.errors import DatabaseError
from foreshock.server.store.engine import cause, open_to_read, reading
from foreshock.server.store.schema import REFERENCE, metadata, runs
from foreshock.server.store.upgrade import known_revision, newest_revision
from foreshock.server.vault.chunk_check import check_chunks, lonely_envelopes
from foreshock.server.vault.fault import Fault
from foreshock.server.vault.log_check import check_log
from foreshock.server.vault.progress import Tell, silent
from foreshock.server.vault.risk_check import check_risks

_CHECKS = (check_log, check_chunks, lonely_envelopes, check_risks)


def verify(address: str, tell: Tell = silent) -> Iterator[Fault]:
    """Every fault of the database, as it is found; raises DatabaseError where it cannot be read at all."""
    with open_to_read(address) as database:
        engine = database.engine
        with reading(engine) as connection:
            if (revision := known_revision(connection)) != newest_revision():
                raise DatabaseError(
                    f"{database.shown} is at revision {revision}, this foreshock at {newest_revision()}: "
                    "start a collector on it once, which migrates it, then verify"
                )
        for look in (_check_engine, _check_strays):
            yield from _guarded("", look(engine))
        run_ids = _run_ids(engine)
        for number, run_id in enumerate(run_ids):
            for check in _CHECKS:
                with reading(engine) as connection:
                    if _is_there(connection, run_id):
                        yield from _guarded(run_id, check(connection, run_id))
            tell("verifying runs", number + 1, len(run_ids))


def _guarded(run_id: str, faults: Iterator[Fault]) -> Iterator[Fault]:
    """Faults; where reading itself fails, that is the last of them."""
    try:
        yield from faults
    except (SQLAlchemyError, zstandard.ZstdError, ValueError) as error:
        yield Fault(run_id, f"it cannot be read further ({cause(error)})")


def _check_engine(engine: sa.Engine) -> Iterator[Fault]:
    """What SQLite itself finds; PostgreSQL checks its pages as they are read."""
    if engine.dialect.name != "sqlite":
        return
    with reading(engine) as connection:
        for (told,) in connection.exec_driver_sql("PRAGMA integrity_check"):
            if told != "ok":
                yield Fault("", f"SQLite finds: {told}")


def _check_strays(engine: sa.Engine) -> Iterator[Fault]:
    """Rows of runs that were never declared."""
    for table in metadata.sorted_tables:
        if table is runs or table.name in REFERENCE:
            continue
        of_group = table.c.run_id.startswith("group:")
        known = sa.exists().where(runs.c.run_id == table.c.run_id)
        query = sa.select(table.c.run_id, sa.func.count()).where(~known, ~of_group).group_by(table.c.run_id)
        with reading(engine) as connection:
            for run_id, count in connection.execute(query):
                yield Fault(run_id, f"table {table.name} has {count} rows of a run that was never declared")


def _run_ids(engine: sa.Engine) -> list[str]:
    query = sa.select(runs.c.run_id).where(runs.c.deleted_at.is_(None)).order_by(runs.c.run_id)
    with reading(engine) as connection:
        return list(connection.execute(query).scalars())


def _is_there(connection: sa.Connection, run_id: str) -> bool:
    query = sa.select(sa.exists().where(runs.c.run_id == run_id, runs.c.deleted_at.is_(None)))
    return bool(connection.execute(query).scalar_one())

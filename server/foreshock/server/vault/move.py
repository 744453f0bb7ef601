"""Moves a whole database to another engine; an interrupted move goes on where it stopped.

While a move is under way the target has a table of its own that says how far each table came. A slice of
rows and the place behind it are one transaction, so a move may be killed anywhere. In the end every
table is read again on both sides and compared, run by run; only then is the target a database like any.
"""

import json
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from foreshock.server.errors import MoveError
from foreshock.server.store.engine import (
    APPLICATION,
    Database,
    cause,
    open_database,
    open_to_read,
    reading,
    writing,
)
from foreshock.server.store.schema import compactions, cursors, leases, metadata, runs
from foreshock.server.vault.progress import Tell, silent
from foreshock.server.vault.rows import count_rows, digest, key_of, read_slices

# Not part of the schema: it is there for as long as a move is
moves: Final = sa.Table(
    "foreshock_move",
    sa.MetaData(),
    sa.Column("table_name", sa.String(64), primary_key=True),
    # What the source held when the move began
    sa.Column("source", sa.Text, nullable=False),
    # Key of the last row that arrived, as JSON
    sa.Column("after", sa.Text),
)


@dataclass(frozen=True, slots=True)
class Moved:
    """What the target holds now."""

    source: str
    target: str
    num_runs: int
    num_rows: int


def move(source_address: str, target_address: str, tell: Tell = silent) -> Moved:
    """Moves everything and compares; the source stays as it is. Raises MoveError and DatabaseError."""
    open_to_read(source_address).close()
    with open_database(source_address) as source, open_database(target_address) as target:
        try:
            for database in (source, target):
                _refuse_served(database)
            _begin(source, target)
            num_rows = sum(_copy(source, target, table, tell) for table in metadata.sorted_tables)
            _compare(source, target, tell)
            with writing(target.engine) as connection:
                moves.drop(connection)
            with reading(target.engine) as connection:
                return Moved(source.shown, target.shown, count_rows(connection, runs), num_rows)
        except SQLAlchemyError as error:
            raise MoveError(
                f"the move to {target.shown} was interrupted ({cause(error)}): run the same "
                "command again, it goes on where it stopped"
            ) from error


def refuse_unfinished(database: Database) -> None:
    """Raises MoveError, with the database closed, where a move into it has not come to its end."""
    if sa.inspect(database.engine).has_table(moves.name):
        database.close()
        raise MoveError(
            f"a move into {database.shown} is not finished: end it with foreshock db move, from the same "
            "database as before"
        )


def _refuse_served(database: Database) -> None:
    """A SQLite file's lock is ours by now; on PostgreSQL collectors are known by their connections."""
    if database.engine.dialect.name == "sqlite":
        return
    others = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = :name AND pid <> pg_backend_pid()"
    )
    with reading(database.engine) as connection:
        if connection.execute(others, {"name": APPLICATION}).scalar_one():
            raise MoveError(f"a collector is serving {database.shown}: stop it, then move")


def _begin(source: Database, target: Database) -> None:
    """Notes in an empty target what comes; raises MoveError where something else is in it."""
    mark = _mark(source)
    if sa.inspect(target.engine).has_table(moves.name):
        with reading(target.engine) as connection:
            if connection.execute(sa.select(moves.c.source).distinct()).scalars().all() == [mark]:
                return
        raise MoveError(
            f"{target.shown} holds an unfinished move of another database, or {source.shown} has changed "
            "since it began: give an empty database"
        )
    with writing(target.engine) as connection:
        for table in metadata.sorted_tables:
            if count_rows(connection, table):
                raise MoveError(
                    f"{target.shown} is not empty, it has rows in {table.name}: give an empty database"
                )
        moves.create(connection)
        rows = [{"table_name": table.name, "source": mark} for table in metadata.sorted_tables]
        connection.execute(sa.insert(moves), rows)


def _mark(source: Database) -> str:
    """What changes whenever a collector serves the source with any run on it."""
    with reading(source.engine) as connection:
        told = [
            tuple(connection.execute(sa.select(sa.func.count(), *columns)).one())
            for columns in (
                (sa.func.max(runs.c.heartbeat_at), sa.func.max(runs.c.started_at)),
                (sa.func.sum(cursors.c.next_sequence), sa.func.max(cursors.c.updated_at)),
                (sa.func.sum(compactions.c.upto_step),),
                (sa.func.sum(leases.c.epoch),),
            )
        ]
    return json.dumps(told, default=str)


def _copy(source: Database, target: Database, table: sa.Table, tell: Tell) -> int:
    """Copies what has not arrived yet; how many rows the table has."""
    of_table = moves.c.table_name == table.name
    with reading(target.engine) as connection:
        told = connection.execute(sa.select(moves.c.after).where(of_table)).scalar_one()
        done = count_rows(connection, table)
    with reading(source.engine) as connection:
        total = count_rows(connection, table)
        for rows in read_slices(connection, table, None if told is None else json.loads(told)):
            after = json.dumps(key_of(table, rows[-1]))
            with writing(target.engine) as writer:
                writer.execute(sa.insert(table), rows)
                writer.execute(sa.update(moves).where(of_table).values(after=after))
            done += len(rows)
            tell(table.name, done, total)
    return total


def _compare(source: Database, target: Database, tell: Tell) -> None:
    """Raises MoveError for the first table and run of which the two hold something else."""
    tables = metadata.sorted_tables
    for number, table in enumerate(tables):
        with reading(source.engine) as here, reading(target.engine) as there:
            ours, theirs = digest(here, table), digest(there, table)
        for run_id in sorted(ours.keys() | theirs.keys()):
            wanted, found = ours.get(run_id, (0, 0)), theirs.get(run_id, (0, 0))
            if wanted != found:
                whose = f" of run {run_id}" if run_id else ""
                raise MoveError(
                    f"table {table.name}{whose} differs: {wanted[0]} rows at the source, {found[0]} at the "
                    "target, or other content. Move into another, empty database"
                )
        tell("comparing", number + 1, len(tables))

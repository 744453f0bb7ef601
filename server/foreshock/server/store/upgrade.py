"""Brings a database to the newest schema, and refuses one that is not ours or is newer than this code."""

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from foreshock.server.errors import DatabaseError, NewerDatabaseError

MIGRATIONS: Final = Path(__file__).parent.parent / "migrations"
# Any fixed number: two collectors that start on one PostgreSQL take turns.
_POSTGRES_LOCK: Final = 7_310_579_621


def migration_config() -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def upgrade(engine: sa.Engine) -> None:
    """Creates or migrates the tables in one transaction.

    Raises NewerDatabaseError and DatabaseError; the database is then as it was.
    """
    config = migration_config()
    script = ScriptDirectory.from_config(config)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_POSTGRES_LOCK)))
        current = MigrationContext.configure(connection).get_current_revision()
        if current == script.get_current_head():
            return
        if current is None:
            _refuse_foreign_tables(connection)
        else:
            known_revision(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def newest_revision() -> str:
    """The revision of this foreshock's own schema."""
    return str(ScriptDirectory.from_config(migration_config()).get_current_head())


def known_revision(connection: sa.Connection) -> str:
    """The database's revision; raises NewerDatabaseError, and DatabaseError where it is not ours."""
    current = MigrationContext.configure(connection).get_current_revision()
    if current is None:
        raise DatabaseError(
            "the database holds nothing of foreshock's: give another with --db PATH or FORESHOCK_DB"
        )
    script = ScriptDirectory.from_config(migration_config())
    if current not in {revision.revision for revision in script.walk_revisions()}:
        raise NewerDatabaseError(
            f"the database is at revision {current}, which this foreshock does not know: a newer one has "
            "migrated it. Update foreshock, or give another database with --db PATH or FORESHOCK_DB"
        )
    return current


def _refuse_foreign_tables(connection: sa.Connection) -> None:
    tables = set(sa.inspect(connection).get_table_names()) - {"alembic_version"}
    if tables:
        raise DatabaseError(
            f"the database holds tables that are not foreshock's ({', '.join(sorted(tables)[:3])} ..): give "
            "it a database of its own with --db PATH or FORESHOCK_DB"
        )

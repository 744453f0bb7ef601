"""Chunks and envelopes, deletion and retention, tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STREAM = ("run_id", "rank", "attempt", "layout_id")
_WINDOW = (*_STREAM, "part", "first_step")
# Compressed already: PostgreSQL must not try again, and reads parts of them in place
_EXTERNAL = {"records": ("body",), "chunks": ("body",), "envelopes": ("cells",)}


def upgrade() -> None:
    """Adds the tables and columns; the numbers of an older log become chunks later, by themselves."""
    _extend_runs()
    _note_how_far_events_had_come()
    _note_where_streams_begin()
    _create_chunks()
    _create_projects_and_tokens()
    if op.get_bind().dialect.name == "postgresql":
        for table, columns in _EXTERNAL.items():
            for column in columns:
                op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")


def _extend_runs() -> None:
    op.add_column("runs", sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("runs", sa.Column("deleted_at", sa.Float()))
    op.add_column("runs", sa.Column("token_id", sa.String(length=32)))


def _note_how_far_events_had_come() -> None:
    """Batches before an event will leave the log; what the judge needs of them stays with the event."""
    op.execute(
        """
        UPDATE records SET last_step = COALESCE((
            SELECT MAX(batch.last_step) FROM records AS batch
            JOIN layouts ON layouts.run_id = batch.run_id AND layouts.rank = batch.rank
                AND layouts.attempt = batch.attempt AND layouts.layout_id = batch.layout_id
            WHERE batch.run_id = records.run_id AND batch.rank = records.rank
                AND batch.attempt = records.attempt AND batch.sequence < records.sequence
                AND batch.kind = 'batch' AND layouts.stream = 'step'
        ), -1) WHERE kind = 'event'
        """
    )


def _note_where_streams_begin() -> None:
    op.add_column("layouts", sa.Column("first_step", sa.BigInteger(), nullable=False, server_default="-1"))
    op.execute(
        """
        UPDATE layouts SET first_step = COALESCE((
            SELECT MIN(records.first_step) FROM records
            WHERE records.run_id = layouts.run_id AND records.rank = layouts.rank
                AND records.attempt = layouts.attempt AND records.layout_id = layouts.layout_id
                AND records.kind = 'batch'
        ), -1)
        """
    )


def _window_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("layout_id", sa.Integer(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
    ]


def _create_chunks() -> None:
    op.create_table(
        "compactions",
        *_window_columns()[:4],
        sa.Column("upto_step", sa.BigInteger(), nullable=False),
        sa.Column("cell_width", sa.BigInteger(), nullable=False),
        sa.Column("num_points", sa.BigInteger(), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*_STREAM, name="pk_compactions"),
    )
    op.create_table(
        "chunks",
        *_window_columns(),
        sa.Column("cell_width", sa.BigInteger(), nullable=False),
        sa.Column("num_steps", sa.Integer(), nullable=False),
        sa.Column("steps", sa.LargeBinary(), nullable=False),
        sa.Column("times", sa.LargeBinary()),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("checksum", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*_WINDOW, name="pk_chunks"),
    )
    op.create_table(
        "envelopes",
        *_window_columns(),
        sa.Column("cell_width", sa.BigInteger(), nullable=False),
        sa.Column("summary", sa.LargeBinary(), nullable=False),
        sa.Column("cells", sa.LargeBinary(), nullable=False),
        sa.Column("checksum", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*_WINDOW, name="pk_envelopes"),
    )


def _create_projects_and_tokens() -> None:
    op.create_table(
        "projects",
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("keep_days", sa.Float()),
        sa.Column("keep_bytes", sa.BigInteger()),
        sa.PrimaryKeyConstraint("project", name="pk_projects"),
    )
    op.create_table(
        "tokens",
        sa.Column("token_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.String(length=64), nullable=False),
        sa.Column("project", sa.String(length=200)),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float()),
        sa.Column("revoked_at", sa.Float()),
        sa.Column("last_used_at", sa.Float()),
        sa.Column("max_requests_per_second", sa.Float()),
        sa.Column("max_bytes_per_second", sa.Float()),
        sa.Column("max_runs", sa.Integer()),
        sa.Column("max_series", sa.Integer()),
        sa.PrimaryKeyConstraint("token_id", name="pk_tokens"),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
    )

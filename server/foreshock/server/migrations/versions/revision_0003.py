"""What alerts rest on, who has seen them, what is silenced."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns and tables; what older alerts rest on is not known, how often they fired is."""
    _extend_transitions()
    _extend_alerts()
    _extend_outbox()
    _create_acknowledgements()
    _create_silences()


def _grounds() -> list[sa.Column[Any]]:
    return [
        sa.Column("signal", sa.String(length=200)),
        sa.Column("layer", sa.Integer()),
        sa.Column("risk", sa.JSON()),
        sa.Column("eta_steps", sa.Float()),
    ]


def _extend_transitions() -> None:
    for column in (sa.Column("severity", sa.String(length=16)), *_grounds()):
        op.add_column("alert_transitions", column)


def _extend_alerts() -> None:
    added: list[sa.Column[Any]] = [
        sa.Column("acknowledged_severity", sa.String(length=16)),
        *_grounds(),
        sa.Column("labels", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("num_firings", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("flapping", sa.Boolean(), nullable=False, server_default=sa.false()),
    ]
    for column in added:
        op.add_column("alerts", column)
    op.execute("UPDATE alerts SET num_firings = 1 WHERE fired_step IS NOT NULL")
    op.execute("UPDATE alerts SET acknowledged_severity = severity WHERE acknowledged_at IS NOT NULL")


def _extend_outbox() -> None:
    op.add_column("outbox", sa.Column("silence_id", sa.String(length=32)))
    op.add_column("outbox", sa.Column("withheld", sa.Text()))


def _create_acknowledgements() -> None:
    op.create_table(
        "acknowledgements",
        sa.Column("run_id", sa.String(length=500), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_acknowledgements"),
    )
    op.execute(
        """
        INSERT INTO acknowledgements (run_id, number, alert_id, author, note, severity, time)
        SELECT run_id, alert_id, alert_id, acknowledged_by, COALESCE(acknowledged_note, ''), severity,
            acknowledged_at
        FROM alerts WHERE acknowledged_at IS NOT NULL AND acknowledged_by IS NOT NULL
        """
    )


def _create_silences() -> None:
    op.create_table(
        "silences",
        sa.Column("silence_id", sa.String(length=32), nullable=False),
        sa.Column("project", sa.String(length=200)),
        sa.Column("matchers", sa.JSON(), nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.Float(), nullable=False),
        sa.Column("ends_at", sa.Float(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expired_at", sa.Float()),
        sa.PrimaryKeyConstraint("silence_id", name="pk_silences"),
    )

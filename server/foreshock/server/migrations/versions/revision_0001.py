"""The first schema: runs, their log, judgement, alerts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates every table."""
    _create_runs()
    _create_log()
    _create_judgement()
    _create_alerts()


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("group_name", sa.String(length=200)),
        sa.Column("seed", sa.BigInteger()),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("constraint_name", sa.String(length=40)),
        sa.Column("total_steps", sa.BigInteger()),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("heartbeat_at", sa.Float(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
    )
    op.create_index("ix_runs_project_started_at", "runs", ["project", "started_at"], unique=False)
    op.create_table(
        "cursors",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("session", sa.String(length=64), nullable=False),
        sa.Column("next_sequence", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("lost_records", sa.BigInteger(), nullable=False),
        sa.Column("lost_frames", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "rank", "attempt", name="pk_cursors"),
    )


def _create_log() -> None:
    op.create_table(
        "layouts",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("layout_id", sa.Integer(), nullable=False),
        sa.Column("stream", sa.String(length=64), nullable=False),
        sa.Column("columns", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "rank", "attempt", "layout_id", name="pk_layouts"),
    )
    op.create_table(
        "records",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("layout_id", sa.Integer(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "rank", "attempt", "sequence", name="pk_records"),
    )
    op.create_index(
        "ix_records_run_id_attempt_last_step", "records", ["run_id", "attempt", "last_step"], unique=False
    )


def _create_judgement() -> None:
    op.create_table(
        "leases",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_leases"),
    )
    op.create_table(
        "detector_states",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("judged_step", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_detector_states"),
    )


def _create_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("run_id", sa.String(length=500), nullable=False),
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("alert_key", sa.String(length=64), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("claim", sa.String(length=16), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("opened_step", sa.BigInteger(), nullable=False),
        sa.Column("fired_step", sa.BigInteger()),
        sa.Column("resolved_step", sa.BigInteger()),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("value", sa.Float()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text()),
        sa.Column("advice", sa.Text(), nullable=False),
        sa.Column("acknowledged_at", sa.Float()),
        sa.Column("acknowledged_by", sa.String(length=200)),
        sa.Column("acknowledged_note", sa.Text()),
        sa.PrimaryKeyConstraint("run_id", "alert_id", name="pk_alerts"),
        sa.UniqueConstraint("run_id", "alert_key", name="uq_alerts_run_id_alert_key"),
    )
    op.create_index("ix_alerts_state_updated_at", "alerts", ["state", "updated_at"], unique=False)
    op.create_table(
        "alert_transitions",
        sa.Column("run_id", sa.String(length=500), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Float()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_alert_transitions"),
    )
    op.create_table(
        "outbox",
        sa.Column("run_id", sa.String(length=500), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("notifier", sa.String(length=64), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try_at", sa.Float(), nullable=False),
        sa.Column("delivered_at", sa.Float()),
        sa.Column("last_error", sa.Text()),
        sa.PrimaryKeyConstraint("run_id", "number", "notifier", name="pk_outbox"),
    )
    op.create_index(
        "ix_outbox_delivered_at_next_try_at", "outbox", ["delivered_at", "next_try_at"], unique=False
    )

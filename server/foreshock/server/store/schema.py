"""The tables. Every key begins with `run_id`, which is what a distributed engine shards by.

The exceptions are `projects`, `silences` and `tokens`, a handful of rows that every node may hold
(REFERENCE).
One schema for SQLite and PostgreSQL. Times are float seconds since the epoch. Points live in `records`,
inside the very bytes that the probe sent, and then in `chunks`, series by series; both are bytes, so
NaN and Inf never meet an SQL type.
"""

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def _of_writer() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("run_id", sa.String(64), primary_key=True),
        sa.Column("rank", sa.Integer, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
    )


def _of_stream() -> tuple[sa.Column[Any], ...]:
    return (*_of_writer(), sa.Column("layout_id", sa.Integer, primary_key=True))


def _of_window() -> tuple[sa.Column[Any], ...]:
    return (
        *_of_stream(),
        sa.Column("part", sa.Integer, primary_key=True),
        sa.Column("first_step", sa.BigInteger, primary_key=True),
    )


runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("project", sa.String(200), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("group_name", sa.String(200)),
    sa.Column("seed", sa.BigInteger),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("config", sa.JSON, nullable=False),
    sa.Column("constraint_name", sa.String(40)),
    sa.Column("total_steps", sa.BigInteger),
    # running, finished, crashed, lost: "lost" is the heartbeat rule's word and can turn back
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("heartbeat_at", sa.Float, nullable=False),
    sa.Column("last_step", sa.BigInteger, nullable=False),
    # Written by the judge beside its position: last values that lists and metrics show
    sa.Column("summary", sa.JSON, nullable=False),
    # Kept from retention, whatever its age
    sa.Column("pinned", sa.Boolean, nullable=False, server_default=sa.false()),
    # Set when it was deleted: nobody sees it any more, its rows go in slices, its id stays taken
    sa.Column("deleted_at", sa.Float),
    # The token that declared it, for that token's limit of runs
    sa.Column("token_id", sa.String(32)),
    sa.Index(None, "project", "started_at"),
)

# What is deleted is seen by nobody, though its row stays
IS_KEPT = runs.c.deleted_at.is_(None)

cursors = sa.Table(
    "cursors",
    metadata,
    *_of_writer(),
    sa.Column("session", sa.String(64), nullable=False),
    sa.Column("next_sequence", sa.BigInteger, nullable=False),
    # Last step of the stream named "step": what the judge's watermark is made of; -1 before any
    sa.Column("last_step", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
    sa.Column("closed", sa.Boolean, nullable=False),
    sa.Column("lost_records", sa.BigInteger, nullable=False),
    sa.Column("lost_frames", sa.BigInteger, nullable=False),
)

layouts = sa.Table(
    "layouts",
    metadata,
    *_of_stream(),
    sa.Column("stream", sa.String(64), nullable=False),
    # zstd of the names joined by newlines
    sa.Column("columns", sa.LargeBinary, nullable=False),
    # -1 before any batch
    sa.Column("first_step", sa.BigInteger, nullable=False, server_default="-1"),
    sa.Column("last_step", sa.BigInteger, nullable=False),
)

records = sa.Table(
    "records",
    metadata,
    *_of_writer(),
    sa.Column("sequence", sa.BigInteger, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    # Of batches: their layout and first and last step. Of events: their step, and in `last_step` how far
    # the rank's stream "step" had come before it. Else -1
    sa.Column("layout_id", sa.Integer, nullable=False),
    sa.Column("first_step", sa.BigInteger, nullable=False),
    sa.Column("last_step", sa.BigInteger, nullable=False),
    # The record as the probe encoded it
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index(None, "run_id", "attempt", "last_step"),
)

# How far a stream is in chunks. Its row is what two compactors take turns by.
compactions = sa.Table(
    "compactions",
    metadata,
    *_of_stream(),
    # Every frame of the stream up to this step is in chunks, none of it in `records` any more
    sa.Column("upto_step", sa.BigInteger, nullable=False),
    # The widest of its chunks
    sa.Column("cell_width", sa.BigInteger, nullable=False),
    sa.Column("num_points", sa.BigInteger, nullable=False),
    sa.Column("num_bytes", sa.BigInteger, nullable=False),
)

# A window of steps of one part of a stream's columns; every column is a zstd frame of its own.
chunks = sa.Table(
    "chunks",
    metadata,
    *_of_window(),
    sa.Column("last_step", sa.BigInteger, nullable=False),
    sa.Column("cell_width", sa.BigInteger, nullable=False),
    sa.Column("num_steps", sa.Integer, nullable=False),
    sa.Column("steps", sa.LargeBinary, nullable=False),
    # Of part 0 only: when each step was taken
    sa.Column("times", sa.LargeBinary),
    sa.Column("body", sa.LargeBinary, nullable=False),
    # CRC-32 of steps, times and body
    sa.Column("checksum", sa.BigInteger, nullable=False),
)

# The same windows, narrow: what every cell of `cell_width` steps held, and what the whole window held.
envelopes = sa.Table(
    "envelopes",
    metadata,
    *_of_window(),
    sa.Column("last_step", sa.BigInteger, nullable=False),
    # A power of two; the window itself is WINDOW_CELLS times as wide
    sa.Column("cell_width", sa.BigInteger, nullable=False),
    sa.Column("summary", sa.LargeBinary, nullable=False),
    sa.Column("cells", sa.LargeBinary, nullable=False),
    sa.Column("checksum", sa.BigInteger, nullable=False),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    # Rises with every change of owner; a commit names it, so a stale owner cannot write
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)

detector_states = sa.Table(
    "detector_states",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("judged_step", sa.BigInteger, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
)

# What the judge forecast: pieces of ticks, in rising order (`store/risks.py`).
risks = sa.Table(
    "risks",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("first_step", sa.BigInteger, primary_key=True),
    sa.Column("last_step", sa.BigInteger, nullable=False),
    sa.Column("num_ticks", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    # CRC-32 of the body
    sa.Column("checksum", sa.BigInteger, nullable=False),
)

# An alert is opened once and then only changes its state; `alert_key` makes a replay harmless.
# Alerts over a group of runs carry "group:<project>/<key>" in the place of a run.
alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("run_id", sa.String(500), primary_key=True),
    sa.Column("alert_id", sa.Integer, primary_key=True),
    sa.Column("alert_key", sa.String(64), nullable=False),
    sa.Column("project", sa.String(200), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("rule", sa.String(64), nullable=False),
    sa.Column("claim", sa.String(16), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("opened_step", sa.BigInteger, nullable=False),
    sa.Column("fired_step", sa.BigInteger),
    sa.Column("resolved_step", sa.BigInteger),
    sa.Column("opened_at", sa.Float, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
    sa.Column("value", sa.Float),
    # Why it opened or fired; and, once it is resolved, why
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text),
    sa.Column("advice", sa.Text, nullable=False),
    sa.Column("acknowledged_at", sa.Float),
    sa.Column("acknowledged_by", sa.String(200)),
    sa.Column("acknowledged_note", sa.Text),
    # How bad it was when somebody saw it: what gets worse is told again
    sa.Column("acknowledged_severity", sa.String(16)),
    # Of its last transition that did not resolve it: what it rests on
    sa.Column("signal", sa.String(200)),
    sa.Column("layer", sa.Integer),
    sa.Column("risk", sa.JSON(none_as_null=True)),
    sa.Column("eta_steps", sa.Float),
    sa.Column("labels", sa.JSON, nullable=False, server_default="{}"),
    # How often it came to fire, and whether too often lately
    sa.Column("num_firings", sa.Integer, nullable=False, server_default="0"),
    sa.Column("flapping", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("run_id", "alert_key"),
    sa.Index(None, "state", "updated_at"),
)
# What was resolved while it was pending has told nobody: it belongs in an alert's history, on no overview.
PASSED_BY = sa.and_(alerts.c.state == "resolved", alerts.c.fired_step.is_(None))

# Every transition; `number` rises within a run and is what a probe's `last_alert` refers to.
alert_transitions = sa.Table(
    "alert_transitions",
    metadata,
    sa.Column("run_id", sa.String(500), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("alert_id", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("value", sa.Float),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("time", sa.Float, nullable=False),
    # None of transitions that are older than these columns
    sa.Column("severity", sa.String(16)),
    sa.Column("signal", sa.String(200)),
    sa.Column("layer", sa.Integer),
    sa.Column("risk", sa.JSON(none_as_null=True)),
    sa.Column("eta_steps", sa.Float),
)

# Everyone who has said that they saw an alert; `alerts` holds the last one while it counts.
acknowledgements = sa.Table(
    "acknowledgements",
    metadata,
    sa.Column("run_id", sa.String(500), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("alert_id", sa.Integer, nullable=False),
    sa.Column("author", sa.String(200), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("time", sa.Float, nullable=False),
)

# Notifications leave from here, at least once, with a stable fingerprint.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("run_id", sa.String(500), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("notifier", sa.String(64), primary_key=True),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_try_at", sa.Float, nullable=False),
    sa.Column("delivered_at", sa.Float),
    sa.Column("last_error", sa.Text),
    # The silence that holds it back; and, where it was never sent, why not
    sa.Column("silence_id", sa.String(32)),
    sa.Column("withheld", sa.Text),
    sa.Index(None, "delivered_at", "next_try_at"),
)

# What people write at a step of a run.
notes = sa.Table(
    "notes",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("author", sa.String(200), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("time", sa.Float, nullable=False),
)

# What nobody wants to be told of for a time: alerts that all matchers fit.
silences = sa.Table(
    "silences",
    metadata,
    sa.Column("silence_id", sa.String(32), primary_key=True),
    # The one project that it is about; none: all
    sa.Column("project", sa.String(200)),
    # [{"name", "operator", "value"}, ..]
    sa.Column("matchers", sa.JSON, nullable=False),
    sa.Column("author", sa.String(200), nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("starts_at", sa.Float, nullable=False),
    sa.Column("ends_at", sa.Float, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    # When somebody ended it before its time
    sa.Column("expired_at", sa.Float),
)

# How long a project's runs are kept, and how much of them; none of both: for ever.
projects = sa.Table(
    "projects",
    metadata,
    sa.Column("project", sa.String(200), primary_key=True),
    sa.Column("keep_days", sa.Float),
    sa.Column("keep_bytes", sa.BigInteger),
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("token_id", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    # SHA-256 of 32 random bytes; the token itself is nowhere
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    # "ingest", "read", "admin", joined by spaces
    sa.Column("scopes", sa.String(64), nullable=False),
    # The one project that it opens; none: all
    sa.Column("project", sa.String(200)),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float),
    sa.Column("revoked_at", sa.Float),
    sa.Column("last_used_at", sa.Float),
    sa.Column("max_requests_per_second", sa.Float),
    sa.Column("max_bytes_per_second", sa.Float),
    sa.Column("max_runs", sa.Integer),
    sa.Column("max_series", sa.Integer),
)

# Tables without a run: small, and held whole by every node of a distributed engine
REFERENCE = frozenset({"projects", "silences", "tokens"})

"""Which runs are kept, and which are due to go: deleted by hand, too old, or too much for their project.

Deleting marks the run, from which moment nobody sees it and nothing is stored of it any more; the
keeper then takes its rows, in slices. Its own row stays, so that its id stays taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from foreshock.server.errors import UnknownRunError
from foreshock.server.store.engine import reading, writing
from foreshock.server.store.schema import (
    IS_KEPT,
    acknowledgements,
    alert_transitions,
    alerts,
    chunks,
    compactions,
    cursors,
    detector_states,
    envelopes,
    layouts,
    leases,
    notes,
    outbox,
    projects,
    records,
    risks,
    runs,
)

DAY_SECONDS: Final = 86_400.0
# One transaction of a deletion ends with the first of both, so that appends find their turn
SLICE_ROWS: Final = 500
SLICE_BYTES: Final = 8 * 2**20
# The lease first: without it no judge writes any more. Cursors last: while there is one, rows are left
TABLES: Final = (
    leases,
    notes,
    outbox,
    acknowledgements,
    alert_transitions,
    alerts,
    detector_states,
    risks,
    records,
    envelopes,
    chunks,
    compactions,
    layouts,
    cursors,
)


@dataclass(frozen=True, slots=True)
class Project:
    """A project, what it holds, and how much of it is kept: days and bytes, None without a limit.

    `num_bytes` are those of records, chunks and envelopes; `num_points` those in chunks, not in the log.
    """

    project: str
    num_runs: int
    num_bytes: int
    num_points: int
    keep_days: float | None
    keep_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Held:
    """A run that is kept, and what it takes."""

    run_id: str
    project: str
    state: str
    pinned: bool
    heartbeat_at: float
    num_bytes: int
    num_points: int


def delete_run(engine: sa.Engine, run_id: str, now: float) -> None:
    """Marks a run as deleted; raises UnknownRunError."""
    _change(engine, run_id, {"deleted_at": now})


def pin_run(engine: sa.Engine, run_id: str, pinned: bool) -> None:
    """Keeps a run from retention, or no more; raises UnknownRunError."""
    _change(engine, run_id, {"pinned": pinned})


def _change(engine: sa.Engine, run_id: str, values: dict[str, float | bool]) -> None:
    with writing(engine) as connection:
        changed = connection.execute(sa.update(runs).where(runs.c.run_id == run_id, IS_KEPT).values(values))
        if changed.rowcount == 0:
            raise UnknownRunError(f"there is no run {run_id[:64]!r} here")


def keep_project(engine: sa.Engine, project: str, days: float | None, num_bytes: int | None) -> None:
    """Sets how long, and how much of, a project's runs are kept; None lifts a limit."""
    insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    values = {"keep_days": days, "keep_bytes": num_bytes}
    told = insert(projects).values(project=project, **values)
    with writing(engine) as connection:
        connection.execute(told.on_conflict_do_update(index_elements=[projects.c.project], set_=values))


def list_projects(engine: sa.Engine) -> list[Project]:
    """Every project that has a run or a limit, by name."""
    with reading(engine) as connection:
        limits = _limits(connection)
        held = _held_runs(connection)
    found = []
    for project in sorted(limits.keys() | {one.project for one in held}):
        of_project = [one for one in held if one.project == project]
        num_bytes, num_points = (
            sum(getattr(one, name) for one in of_project) for name in ("num_bytes", "num_points")
        )
        keep = limits.get(project, (None, None))
        found.append(Project(project, len(of_project), num_bytes, num_points, *keep))
    return found


def overdue_runs(connection: sa.Connection, now: float) -> list[str]:
    """Runs that their project's limits no longer keep, oldest first; never one that runs or is pinned.

    A clock that was set wrong must not cost data: a run is old only where the newest sign of life in
    the database, of any run, is as much younger.
    """
    limits = _limits(connection)
    if not limits:
        return []
    newest: float | None = connection.execute(sa.select(sa.func.max(runs.c.heartbeat_at))).scalar_one()
    now = min(now, newest or now)
    due: list[str] = []
    for project, (days, num_bytes) in limits.items():
        held = sorted(_held_runs(connection, project), key=lambda one: (one.heartbeat_at, one.run_id))
        size = sum(one.num_bytes for one in held)
        for one in held:
            if one.pinned or one.state == "running":
                continue
            is_old = days is not None and one.heartbeat_at < now - days * DAY_SECONDS
            is_too_much = num_bytes is not None and size > num_bytes and one.state in ("finished", "crashed")
            if is_old or is_too_much:
                due.append(one.run_id)
                size -= one.num_bytes
    return due


def _limits(connection: sa.Connection) -> dict[str, tuple[float | None, int | None]]:
    is_limited = projects.c.keep_days.is_not(None) | projects.c.keep_bytes.is_not(None)
    rows = connection.execute(sa.select(projects).where(is_limited))
    return {row.project: (row.keep_days, row.keep_bytes) for row in rows}


def _held_runs(connection: sa.Connection, project: str | None = None) -> list[_Held]:
    """Kept runs and what they take: the log by the length of its rows, chunks as compaction counted them."""
    wanted = (IS_KEPT, *(() if project is None else (runs.c.project == project,)))
    run_ids = sa.select(runs.c.run_id).where(*wanted)
    of_log = (
        sa.select(records.c.run_id, sa.func.sum(sa.func.length(records.c.body)).label("num_bytes"))
        .where(records.c.run_id.in_(run_ids))
        .group_by(records.c.run_id)
        .subquery()
    )
    of_chunks = (
        sa.select(
            compactions.c.run_id,
            sa.func.sum(compactions.c.num_bytes).label("num_bytes"),
            sa.func.sum(compactions.c.num_points).label("num_points"),
        )
        .where(compactions.c.run_id.in_(run_ids))
        .group_by(compactions.c.run_id)
        .subquery()
    )
    num_bytes = sa.func.coalesce(of_log.c.num_bytes, 0) + sa.func.coalesce(of_chunks.c.num_bytes, 0)
    query = (
        sa.select(
            runs.c.run_id,
            runs.c.project,
            runs.c.state,
            runs.c.pinned,
            runs.c.heartbeat_at,
            num_bytes,
            sa.func.coalesce(of_chunks.c.num_points, 0),
        )
        .select_from(
            runs.outerjoin(of_log, of_log.c.run_id == runs.c.run_id).outerjoin(
                of_chunks, of_chunks.c.run_id == runs.c.run_id
            )
        )
        .where(*wanted)
    )
    return [_Held(*row[:5], int(row[5]), int(row[6])) for row in connection.execute(query)]


def unswept_runs(connection: sa.Connection) -> list[str]:
    """Deleted runs of which rows are left."""
    has_rows = sa.exists().where(cursors.c.run_id == runs.c.run_id)
    query = sa.select(runs.c.run_id).where(~IS_KEPT, has_rows).order_by(runs.c.deleted_at)
    return list(connection.execute(query).scalars())


def sweep(engine: sa.Engine, run_id: str) -> Iterator[int]:
    """Deletes the rows of a deleted run, a slice at a time; how many each slice had.

    It may be left anywhere: what is begun anew goes on with what is still there.
    """
    for table in TABLES[:-1]:
        while num_rows := _delete_slice(engine, table, run_id):
            yield num_rows
    of_run = runs.c.run_id == run_id
    with writing(engine) as connection:
        gone = connection.execute(sa.delete(cursors).where(cursors.c.run_id == run_id)).rowcount
        connection.execute(sa.update(runs).where(of_run).values(config={}, tags=[], summary={}))
    yield gone


def _delete_slice(engine: sa.Engine, table: sa.Table, run_id: str) -> int:
    of_run, rest = table.c.run_id == run_id, list(table.primary_key)[1:]
    with writing(engine) as connection:
        if not rest:
            return connection.execute(sa.delete(table).where(of_run)).rowcount
        size = sa.func.length(table.c.body) if "body" in table.c else sa.literal(0)
        query = sa.select(*rest, size.label("num_bytes")).where(of_run).order_by(*rest).limit(SLICE_ROWS)
        last, num_bytes = None, 0
        for *key, length in connection.execute(query):
            last, num_bytes = tuple(key), num_bytes + length
            if num_bytes >= SLICE_BYTES:
                break
        if last is None:
            return 0
        return connection.execute(sa.delete(table).where(of_run, sa.tuple_(*rest) <= last)).rowcount

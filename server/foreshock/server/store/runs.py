"""Runs: declared by probes, listed and described for readers."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from foreshock.server.caller import ROOT, Caller
from foreshock.server.errors import (
    AttemptTakenError,
    RunDeletedError,
    RunTakenError,
    TooManyRunsError,
    UnknownRunError,
)
from foreshock.server.store.engine import reading, writing
from foreshock.server.store.schema import IS_KEPT, alerts, cursors, runs
from foreshock.wire import RunDeclaration, RunHandle


@dataclass(frozen=True, slots=True)
class Declared:
    """A declaration's outcome: the probe's handle, and whether the run's state or attempt is news."""

    handle: RunHandle
    is_news: bool


def declare(engine: sa.Engine, declaration: RunDeclaration, caller: Caller = ROOT) -> Declared:
    """Creates or resumes a run and claims (rank, attempt) for the declaring process. Idempotent.

    Rank 0 describes the run; other ranks only claim their place. Raises AttemptTakenError where
    another session holds the claim, RunTakenError where the id belongs to a project that the caller does
    not see, TooManyRunsError where the caller has declared as many runs as it may,
    RunDeletedError where the run was deleted.
    """
    now = time.time()
    with writing(engine) as connection:
        run = _find(connection, declaration.run_id)
        if run is not None:
            _check_project(run, caller)
            if run.deleted_at is not None:
                raise deleted(declaration.run_id)
        is_news = run is None or declaration.attempt > run.attempt
        if run is None:
            _check_room(connection, caller)
            _create(connection, declaration, now, caller.token_id)
        else:
            _describe(connection, run, declaration, now)
        next_sequence = _claim(connection, declaration, now)
    handle = RunHandle(
        run_id=declaration.run_id,
        attempt=declaration.attempt,
        next_sequence=next_sequence,
        page=f"/runs/{declaration.run_id}",
    )
    return Declared(handle, is_news)


def _find(connection: sa.Connection, run_id: str) -> sa.Row[Any] | None:
    if connection.dialect.name == "postgresql":
        # Two ranks may declare one new run at the same moment; they take turns.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(run_id))))
    return connection.execute(sa.select(runs).where(runs.c.run_id == run_id).with_for_update()).one_or_none()


def _description(declaration: RunDeclaration) -> dict[str, Any]:
    return {
        "project": declaration.project,
        "name": declaration.name,
        "group_name": declaration.group,
        "seed": declaration.seed,
        "tags": declaration.tags,
        "config": declaration.config,
        "constraint_name": declaration.constraint,
        "total_steps": declaration.total_steps,
    }


def _check_room(connection: sa.Connection, caller: Caller) -> None:
    most = caller.limits.max_runs
    if most is None or caller.token_id is None:
        return
    if connection.dialect.name == "postgresql":
        # Two runs may be declared by one token at the same moment; they take turns.
        key = sa.func.hashtext(f"runs of token {caller.token_id}")
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
    declared = (runs.c.token_id == caller.token_id, runs.c.deleted_at.is_(None))
    count = connection.execute(sa.select(sa.func.count()).select_from(runs).where(*declared)).scalar_one()
    if count >= most:
        raise TooManyRunsError(
            f"this token has declared {count} runs and may declare {most}: delete runs that nobody needs, "
            "or use a token that may declare more"
        )


def _check_project(run: sa.Row[Any], caller: Caller) -> None:
    if not caller.sees(run.project):
        raise RunTakenError(
            f"the id {run.run_id} belongs to a run that this token does not open: choose another id"
        )


def _create(connection: sa.Connection, declaration: RunDeclaration, now: float, token_id: str | None) -> None:
    connection.execute(
        sa.insert(runs).values(
            run_id=declaration.run_id,
            state="running",
            attempt=declaration.attempt,
            started_at=declaration.started_at or now,
            heartbeat_at=now,
            last_step=-1,
            summary={},
            token_id=token_id,
            **_description(declaration),
        )
    )


def _describe(connection: sa.Connection, run: sa.Row[Any], declaration: RunDeclaration, now: float) -> None:
    values: dict[str, Any] = {"heartbeat_at": now}
    if declaration.rank == 0 and declaration.attempt >= run.attempt:
        values |= _description(declaration)
    if declaration.attempt > run.attempt:
        values |= {"attempt": declaration.attempt, "state": "running", "last_step": -1}
    connection.execute(sa.update(runs).where(runs.c.run_id == run.run_id).values(values))


def _claim(connection: sa.Connection, declaration: RunDeclaration, now: float) -> int:
    """The sequence number from which the claimed writer goes on."""
    key = (declaration.run_id, declaration.rank, declaration.attempt)
    of_key = sa.tuple_(cursors.c.run_id, cursors.c.rank, cursors.c.attempt) == key
    cursor = connection.execute(sa.select(cursors).where(of_key)).one_or_none()
    if cursor is None:
        connection.execute(sa.insert(cursors).values(_new_cursor(declaration, now)))
        return 0
    if cursor.session != declaration.session:
        of_run = sa.select(sa.func.max(cursors.c.attempt)).where(cursors.c.run_id == declaration.run_id)
        newest: int = connection.execute(of_run).scalar_one()
        raise AttemptTakenError(
            f"attempt {declaration.attempt} of run {declaration.run_id}, rank {declaration.rank}, belongs to "
            f"another process: declare attempt {newest + 1}",
            next_attempt=newest + 1,
        )
    return int(cursor.next_sequence)


def _new_cursor(declaration: RunDeclaration, now: float) -> dict[str, Any]:
    return {
        "run_id": declaration.run_id,
        "rank": declaration.rank,
        "attempt": declaration.attempt,
        "session": declaration.session,
        "next_sequence": 0,
        "last_step": -1,
        "updated_at": now,
        "closed": False,
        "lost_records": 0,
        "lost_frames": 0,
    }


def get_run(engine: sa.Engine, run_id: str) -> sa.RowMapping:
    """The run's row; raises UnknownRunError."""
    with reading(engine) as connection:
        of_run = sa.select(runs).where(runs.c.run_id == run_id, IS_KEPT)
        row = connection.execute(of_run).mappings().one_or_none()
    if row is None:
        raise UnknownRunError(f"there is no run {run_id[:64]!r} here")
    return row


def ids_of_project(engine: sa.Engine, project: str, run_ids: Collection[str]) -> set[str]:
    """Those of the ids, of runs or of groups that have an alert, which belong to the project."""
    found: set[str] = set()
    with reading(engine) as connection:
        for table in (runs, alerts):
            of_project = (table.c.run_id.in_(sorted(run_ids)), table.c.project == project)
            found |= set(connection.execute(sa.select(table.c.run_id).where(*of_project)).scalars())
    return found


def hold(connection: sa.Connection, run_id: str) -> bool:
    """Whether the run is there and not deleted; it then stays so until the transaction ends."""
    of_run = sa.select(runs.c.run_id).where(runs.c.run_id == run_id, IS_KEPT)
    return connection.execute(of_run.with_for_update(read=True)).one_or_none() is not None


def deleted(run_id: str) -> RunDeletedError:
    """What a probe is told of a deleted run."""
    return RunDeletedError(f"run {run_id} was deleted and its id stays taken: start a run of another id")

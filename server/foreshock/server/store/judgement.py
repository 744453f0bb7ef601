"""What the judge reads of the log, and the one transaction in which it writes what it found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from foreshock.server.detection.case import ScheduleChange, change_words
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.watermark import RankPlace
from foreshock.server.store.engine import writing
from foreshock.server.store.schema import IS_KEPT, alerts, cursors, detector_states, leases, records, runs
from foreshock.wire import Event, decode_record

# Other collectors may have longer leases, or clocks that go before ours by some
LONGEST_LEASES: Final = 4
# Each rank of a run that goes back says so in its last event
MAX_LAST_EVENTS: Final = 64


@dataclass(frozen=True, slots=True)
class RunPlace:
    """A run that may have something to judge."""

    run_id: str
    project: str
    attempt: int
    state: str


class LeaseLostError(Exception):
    """Raised when another judge has taken the run over; nothing of the transaction is kept."""


def waiting_runs(connection: sa.Connection) -> list[RunPlace]:
    """Runs that live, or whose log reaches beyond what was judged."""
    state = detector_states
    behind = (
        state.c.run_id.is_(None)
        | (state.c.attempt < runs.c.attempt)
        | (state.c.judged_step < runs.c.last_step)
    )
    query = (
        sa.select(runs.c.run_id, runs.c.project, runs.c.attempt, runs.c.state)
        .select_from(runs.outerjoin(state, state.c.run_id == runs.c.run_id))
        .where(IS_KEPT, runs.c.state.in_(("running", "lost")) | behind)
        .order_by(runs.c.run_id)
    )
    return [RunPlace(*row) for row in connection.execute(query)]


def ended_runs(connection: sa.Connection, run_ids: Sequence[str] | None) -> list[RunPlace]:
    """Of these runs, those that have finished or crashed; of all runs, those with an open alert."""
    if run_ids is None:
        is_open = alerts.c.state != "resolved"
        chosen = runs.c.run_id.in_(sa.select(alerts.c.run_id).where(is_open))
    else:
        chosen = runs.c.run_id.in_(run_ids)
    query = sa.select(runs.c.run_id, runs.c.project, runs.c.attempt, runs.c.state)
    ended = runs.c.state.in_(("finished", "crashed")) & IS_KEPT
    return [RunPlace(*row) for row in connection.execute(query.where(ended, chosen).order_by(runs.c.run_id))]


def next_attempt(connection: sa.Connection, run_id: str, after: int) -> int | None:
    """The first attempt after one that any rank has declared."""
    query = sa.select(sa.func.min(cursors.c.attempt)).where(
        cursors.c.run_id == run_id, cursors.c.attempt > after
    )
    found: int | None = connection.execute(query).scalar_one()
    return found


def read_context(connection: sa.Connection, run_id: str) -> RunContext:
    """What the run has declared of itself."""
    query = sa.select(runs.c.total_steps, runs.c.constraint_name, runs.c.config).where(
        runs.c.run_id == run_id
    )
    row = connection.execute(query).one()
    return RunContext(row.total_steps, row.constraint_name, row.config)


def read_places(connection: sa.Connection, run_id: str, attempt: int) -> list[RankPlace]:
    """The cursors of all ranks of an attempt."""
    query = (
        sa.select(cursors.c.rank, cursors.c.last_step, cursors.c.closed)
        .where(cursors.c.run_id == run_id, cursors.c.attempt == attempt)
        .order_by(cursors.c.rank)
    )
    return [RankPlace(*row) for row in connection.execute(query)]


def read_state(connection: sa.Connection, run_id: str) -> tuple[int, bytes] | None:
    """The stored state's attempt and bytes."""
    query = sa.select(detector_states.c.attempt, detector_states.c.state)
    row = connection.execute(query.where(detector_states.c.run_id == run_id)).one_or_none()
    return None if row is None else (row.attempt, row.state)


def read_changes(
    connection: sa.Connection, run_id: str, attempt: int, next_sequences: dict[int, int]
) -> tuple[list[ScheduleChange], dict[int, int]]:
    """Schedule changes from each rank's next sequence on, and where to go on from."""
    found: list[ScheduleChange] = []
    after = dict(next_sequences)
    query = sa.select(cursors.c.rank, cursors.c.next_sequence).where(
        cursors.c.run_id == run_id, cursors.c.attempt == attempt
    )
    for rank, next_sequence in connection.execute(query).all():
        of_rank = (records.c.run_id == run_id, records.c.attempt == attempt, records.c.rank == rank)
        of_events = sa.select(records.c.sequence, records.c.last_step, records.c.body).where(
            *of_rank,
            records.c.kind == "event",
            records.c.sequence >= after.get(rank, 0),
            records.c.sequence < next_sequence,
        )
        for sequence, sent, body in connection.execute(of_events.order_by(records.c.sequence)).all():
            event = decode_record(body)
            if isinstance(event, Event) and event.kind == "schedule":
                found.append(
                    ScheduleChange(max(event.step, sent + 1), rank, sequence, change_words(event.detail))
                )
        after[rank] = next_sequence
    return found, after


def read_rollback(connection: sa.Connection, run_id: str, attempt: int) -> int | None:
    """The step to which a run says that it went back at the end of an attempt, None where it does not."""
    query = (
        sa.select(records.c.body)
        .where(records.c.run_id == run_id, records.c.attempt == attempt, records.c.kind == "event")
        .order_by(records.c.sequence.desc(), records.c.rank)
        .limit(MAX_LAST_EVENTS)
    )
    events = (decode_record(body) for body in connection.execute(query).scalars())
    said = [
        one.detail.get("back_to_step") for one in events if isinstance(one, Event) and one.kind == "rollback"
    ]
    return min((step for step in said if isinstance(step, int)), default=None)


def take_lease(
    connection: sa.Connection, key: str, owner: str, now: float, lease_seconds: float
) -> int | None:
    """The epoch under which `owner` may write, None while another's lease lives.

    A SQLite file has one collector, which its lock enforces, so there a lease of another owner is
    that of a dead process and is taken over at once. So is one that ends later than any lease can: the
    clock was set back since.
    """
    alone = connection.dialect.name == "sqlite"
    row = connection.execute(sa.select(leases).where(leases.c.run_id == key)).one_or_none()
    if row is None:
        values = {"run_id": key, "owner": owner, "epoch": 1, "expires_at": now + lease_seconds}
        try:
            with connection.begin_nested():
                connection.execute(sa.insert(leases).values(values))
        except IntegrityError:
            return None
        return 1
    if row.owner == owner:
        return int(row.epoch)
    if now <= row.expires_at <= now + LONGEST_LEASES * lease_seconds and not alone:
        return None
    taken = connection.execute(
        sa.update(leases)
        .where(leases.c.run_id == key, leases.c.epoch == row.epoch, leases.c.owner == row.owner)
        .values(owner=owner, epoch=row.epoch + 1, expires_at=now + lease_seconds)
    )
    return int(row.epoch) + 1 if taken.rowcount == 1 else None


def release_leases(engine: sa.Engine, owner: str) -> None:
    """Lets others take over at once what an owner will judge no more."""
    with writing(engine) as connection:
        connection.execute(sa.update(leases).where(leases.c.owner == owner).values(expires_at=0.0))


def fence(
    connection: sa.Connection, key: str, owner: str, epoch: int, now: float, lease_seconds: float
) -> None:
    """Renews a lease inside the transaction that it guards; raises LeaseLostError if it is gone."""
    renewed = connection.execute(
        sa.update(leases)
        .where(leases.c.run_id == key, leases.c.owner == owner, leases.c.epoch == epoch)
        .values(expires_at=now + lease_seconds)
    )
    if renewed.rowcount != 1:
        raise LeaseLostError(key)


def write_state(
    connection: sa.Connection,
    run_id: str,
    attempt: int,
    judged_step: int,
    state: bytes,
    summary: dict[str, Any],
) -> None:
    """Stores the judge's position with its state, and what lists show of the run."""
    values = {"attempt": attempt, "judged_step": judged_step, "state": state}
    of_run = detector_states.c.run_id == run_id
    if connection.execute(sa.update(detector_states).where(of_run).values(values)).rowcount == 0:
        connection.execute(sa.insert(detector_states).values(run_id=run_id, **values))
    if summary:
        connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(summary=summary))

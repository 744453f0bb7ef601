"""The heartbeat rule: a running run from which nothing comes any more.

Judged by the clock, apart from the log: the run's state turns to `lost` and an alert fires; both turn
back when the run is heard of again. Nobody is called lost before the collector itself has run for
the grace, since until then it is the collector that was away. What arrives older than the grace (a run
that was killed offline and synced later) makes its run `lost` as it is stored, without an alert:
`store/desk.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from foreshock.server.alerts.life import Transition
from foreshock.server.store.alerts import write_transitions
from foreshock.server.store.engine import writing
from foreshock.server.store.schema import IS_KEPT, alerts, runs
from foreshock.wire import Alert

RULE: Final = "heartbeat_lost"
SUBJECT: Final = "heartbeat"
ADVICE: Final = (
    "Look at the training process and its machine: it has hung, died without a word, or lost the "
    "network. The probe keeps what it measures and sends it when it reaches the collector again."
)


@dataclass(frozen=True, slots=True)
class Silent:
    """A run and what is needed to tell of it."""

    run_id: str
    project: str
    attempt: int
    last_step: int
    heartbeat_at: float


def lose_silent_runs(
    engine: sa.Engine, now: float, grace_seconds: float, notifiers: Sequence[str]
) -> list[Alert]:
    """Turns running runs without a heartbeat for the grace to `lost`, each with its alert."""
    columns = (runs.c.run_id, runs.c.project, runs.c.attempt, runs.c.last_step, runs.c.heartbeat_at)
    is_silent = (IS_KEPT, runs.c.state == "running", runs.c.heartbeat_at < now - grace_seconds)
    query = sa.select(*columns).where(*is_silent).order_by(runs.c.run_id)
    with engine.connect() as connection:
        silent = [Silent(*row) for row in connection.execution_options(only_reads=True).execute(query)]
    told = []
    for one in silent:
        with writing(engine) as connection:
            turned = sa.update(runs).where(runs.c.run_id == one.run_id, *is_silent).values(state="lost")
            if connection.execute(turned).rowcount == 1:
                told += _tell(connection, one, _lost(one, now), notifiers)
    return told


def find_returned_runs(engine: sa.Engine, now: float, notifiers: Sequence[str]) -> list[Alert]:
    """Resolves the alerts of runs that are no longer lost."""
    query = (
        sa.select(
            runs.c.run_id,
            runs.c.project,
            alerts.c.attempt,
            runs.c.last_step,
            runs.c.heartbeat_at,
            alerts.c.opened_step,
            runs.c.state,
        )
        .join(alerts, alerts.c.run_id == runs.c.run_id)
        .where(IS_KEPT, alerts.c.rule == RULE, alerts.c.state == "firing", runs.c.state != "lost")
        .order_by(runs.c.run_id)
    )
    with engine.connect() as connection:
        returned = connection.execution_options(only_reads=True).execute(query).all()
    told = []
    for row in returned:
        silent = Silent(*row[:5])
        with writing(engine) as connection:
            lock = sa.select(runs.c.run_id).where(IS_KEPT, runs.c.run_id == row.run_id).with_for_update()
            if connection.execute(lock).one_or_none() is None:
                continue
            back = _returned(silent, row.opened_step, row.state, now)
            told += _tell(connection, silent, back, notifiers)
    return told


def _tell(
    connection: sa.Connection, one: Silent, transition: Transition, notifiers: Sequence[str]
) -> list[Alert]:
    return write_transitions(connection, one.run_id, one.project, one.attempt, [transition], notifiers)


def _lost(one: Silent, now: float) -> Transition:
    silence = now - one.heartbeat_at
    where = "before its first step" if one.last_step < 0 else f"since step {one.last_step}"
    reason = f"Nothing has come from the run for {silence:.0f} seconds, {where}."
    step = max(one.last_step, 0)
    return Transition(RULE, SUBJECT, "rule", "critical", "firing", step, step, now, silence, reason, ADVICE)


def _returned(one: Silent, opened_step: int, state: str, now: float) -> Transition:
    reason = f"The run is heard of again: it is {state}, at step {one.last_step}."
    step = max(one.last_step, 0)
    return Transition(
        RULE, SUBJECT, "rule", "critical", "resolved", opened_step, step, now, None, reason, ADVICE
    )

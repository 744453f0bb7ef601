"""A short text that changes whenever a run, or any run of a project, has something new to show."""

import sqlalchemy as sa

from foreshock.server.store.engine import reading
from foreshock.server.store.schema import IS_KEPT, alert_transitions, alerts, cursors, runs


def run_mark(engine: sa.Engine, run_id: str) -> str:
    """Changes with every stored record and every alert of the run."""
    stored = sa.select(sa.func.coalesce(sa.func.sum(cursors.c.next_sequence), 0))
    told = sa.select(sa.func.coalesce(sa.func.max(alert_transitions.c.number), 0))
    with reading(engine) as connection:
        return "-".join(
            (
                str(connection.execute(stored.where(cursors.c.run_id == run_id)).scalar_one()),
                str(connection.execute(told.where(alert_transitions.c.run_id == run_id)).scalar_one()),
            )
        )


def project_mark(engine: sa.Engine, project: str | None) -> str:
    """Changes with every stored record and every alert of the project's runs."""
    runs_there = sa.select(sa.func.count(), sa.func.sum(runs.c.attempt), sa.func.max(runs.c.heartbeat_at))
    runs_there = runs_there.where(IS_KEPT)
    told = sa.select(sa.func.count(), sa.func.max(alerts.c.updated_at))
    if project is not None:
        runs_there = runs_there.where(runs.c.project == project)
        told = told.where(alerts.c.project == project)
    with reading(engine) as connection:
        return repr((*connection.execute(runs_there).one(), *connection.execute(told).one()))

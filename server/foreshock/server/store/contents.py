"""What there is to choose from: the names of projects, and the rules that have alerts."""

import sqlalchemy as sa

from foreshock.server.store.engine import reading
from foreshock.server.store.schema import IS_KEPT, alerts, runs


def project_names(engine: sa.Engine, project: str | None = None) -> list[str]:
    """The projects that have runs, by name; with a project, that one alone."""
    query = sa.select(runs.c.project).where(IS_KEPT).distinct()
    if project is not None:
        query = query.where(runs.c.project == project)
    with reading(engine) as connection:
        return sorted(connection.execute(query).scalars())


def alerting_rules(engine: sa.Engine, project: str | None = None) -> list[str]:
    """The rules of which there is an alert, by name; with a project, of that one's alerts."""
    query = sa.select(alerts.c.rule).distinct()
    if project is not None:
        query = query.where(alerts.c.project == project)
    with reading(engine) as connection:
        return sorted(connection.execute(query).scalars())

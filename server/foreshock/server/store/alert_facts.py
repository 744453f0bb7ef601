"""Alerts as health is judged by them, each with the step at which it was told last."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from foreshock.server.store.engine import reading
from foreshock.server.store.schema import PASSED_BY, alert_transitions, alerts

# Of one run; the newest, where there are more
MAX_ALERTS: Final = 500
_FACTS: Final = (
    alerts.c.run_id,
    alerts.c.attempt,
    alerts.c.rule,
    alerts.c.severity,
    alerts.c.state,
    alerts.c.subject,
    alerts.c.opened_step,
    alerts.c.fired_step,
    alerts.c.resolved_step,
    alerts.c.reason,
    alerts.c.advice,
    alerts.c.signal,
    alerts.c.layer,
    alerts.c.risk,
    alerts.c.eta_steps,
)
_TOLD_STEP: Final = (
    sa.select(alert_transitions.c.step)
    .where(
        alert_transitions.c.run_id == alerts.c.run_id,
        alert_transitions.c.alert_id == alerts.c.alert_id,
        alert_transitions.c.state != "resolved",
    )
    .order_by(alert_transitions.c.number.desc())
    .limit(1)
    .scalar_subquery()
    .label("told_step")
)


def alert_facts(engine: sa.Engine, run_id: str) -> list[dict[str, Any]]:
    """A run's alerts that fired or may still, newest first."""
    query = (
        sa.select(*_FACTS, _TOLD_STEP)
        .where(alerts.c.run_id == run_id, ~PASSED_BY)
        .order_by(alerts.c.alert_id.desc())
        .limit(MAX_ALERTS)
    )
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def open_alert_facts(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The alerts of each run that stand, by run."""
    query = sa.select(*_FACTS, _TOLD_STEP).where(alerts.c.run_id.in_(run_ids), alerts.c.state != "resolved")
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in connection.execute(query).mappings():
        found[row["run_id"]].append(dict(row))
    return found

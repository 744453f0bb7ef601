"""Alert transitions as a probe gets them: all that are newer than the last it has seen.

A value that is not finite is left out, since the wire's alerts have no word for it; the reason has.
"""

import math
from typing import Final

import sqlalchemy as sa

from foreshock.server.store.engine import reading
from foreshock.server.store.schema import alert_transitions, alerts
from foreshock.wire import Alert

MAX_ALERTS: Final = 500


def unseen_alerts(engine: sa.Engine, run_id: str, last_alert: int) -> list[Alert]:
    """The run's transitions after number `last_alert`, oldest first; the rest comes with the next answer."""
    of_alert = (alerts.c.run_id == alert_transitions.c.run_id) & (
        alerts.c.alert_id == alert_transitions.c.alert_id
    )
    query = (
        sa.select(
            alert_transitions,
            alerts.c.attempt,
            alerts.c.rule,
            alerts.c.claim,
            alerts.c.severity,
            alerts.c.subject,
            alerts.c.advice,
        )
        .join(alerts, of_alert)
        .where(alert_transitions.c.run_id == run_id, alert_transitions.c.number > last_alert)
        .order_by(alert_transitions.c.number)
        .limit(MAX_ALERTS)
    )
    with reading(engine) as connection:
        return [_alert(row) for row in connection.execute(query).mappings()]


def _alert(row: sa.RowMapping) -> Alert:
    value = row["value"]
    return Alert(**{**row, "value": value if value is not None and math.isfinite(value) else None})

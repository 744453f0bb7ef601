"""Alert transitions as a probe gets them: all that are newer than the last it has seen.

A value that is not finite is left out, since the wire's alerts have no word for it; the reason has.
"""

import math
from typing import Any, Final

import sqlalchemy as sa

from foreshock.server.store.engine import reading
from foreshock.server.store.schema import alert_transitions, alerts
from foreshock.wire import Alert

MAX_ALERTS: Final = 500
OF_ALERT: Final = sa.and_(
    alerts.c.run_id == alert_transitions.c.run_id, alerts.c.alert_id == alert_transitions.c.alert_id
)
# How bad it was then; older transitions know only how bad the alert is
SEVERITY: Final = sa.func.coalesce(alert_transitions.c.severity, alerts.c.severity).label("severity")
# The members of the wire's Alert
ALERT_COLUMNS: Final[tuple[sa.ColumnElement[Any], ...]] = (
    *(column for column in alert_transitions.columns if column.name != "severity"),
    SEVERITY,
    *(alerts.c[name] for name in ("attempt", "rule", "claim", "subject", "advice")),
)


def unseen_alerts(engine: sa.Engine, run_id: str, last_alert: int) -> list[Alert]:
    """The run's transitions after number `last_alert`, oldest first; the rest comes with the next answer."""
    query = (
        sa.select(*ALERT_COLUMNS)
        .join(alerts, OF_ALERT)
        .where(alert_transitions.c.run_id == run_id, alert_transitions.c.number > last_alert)
        .order_by(alert_transitions.c.number)
        .limit(MAX_ALERTS)
    )
    with reading(engine) as connection:
        return [_alert(row) for row in connection.execute(query).mappings()]


def _alert(row: sa.RowMapping) -> Alert:
    value = row["value"]
    return Alert(**{**row, "value": value if value is not None and math.isfinite(value) else None})

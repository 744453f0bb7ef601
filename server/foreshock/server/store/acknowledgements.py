"""Who has seen an alert, and what they said: all of it is kept, the last one counts.

It counts until the alert resolves: one that opens again has been seen by nobody.
"""

import time
from typing import Any

import sqlalchemy as sa

from foreshock.server.store.alerts import find_alert, next_number
from foreshock.server.store.engine import writing
from foreshock.server.store.schema import acknowledgements, alerts


def acknowledge(
    engine: sa.Engine, run_id: str, alert_id: int, author: str, note: str, project: str | None = None
) -> dict[str, Any]:
    """Notes who has seen an alert and what they say; it is told again only if it gets worse.

    Raises UnknownAlertError, for an alert not of the project too; nothing is then noted.
    """
    now = time.time()
    seen = {"acknowledged_at": now, "acknowledged_by": author, "acknowledged_note": note}
    of_alert = (alerts.c.run_id == run_id, alerts.c.alert_id == alert_id)
    said = {"run_id": run_id, "alert_id": alert_id, "author": author, "note": note, "time": now}
    with writing(engine) as connection:
        # Two who say so at once take turns; so does a judge that changes the alert
        connection.execute(sa.select(alerts.c.alert_id).where(alerts.c.run_id == run_id).with_for_update())
        severity = find_alert(connection, run_id, alert_id, project)["severity"]
        number = next_number(connection, acknowledgements, run_id)
        connection.execute(sa.insert(acknowledgements).values(**said, number=number, severity=severity))
        connection.execute(sa.update(alerts).where(*of_alert).values(**seen, acknowledged_severity=severity))
        return find_alert(connection, run_id, alert_id, project)

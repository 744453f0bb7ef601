"""Makes of a stored transition what people are told."""

import sqlalchemy as sa

from foreshock.server.alerts.around import page_around
from foreshock.server.alerts.notifier import Notification
from foreshock.server.store.engine import reading
from foreshock.server.store.schema import alert_transitions, alerts
from foreshock.server.store.transitions import ALERT_COLUMNS, OF_ALERT
from foreshock.wire import Alert


class NotificationReader:
    """Reads notifications; `public_url` is where people reach the pages."""

    def __init__(self, engine: sa.Engine, public_url: str) -> None:
        self._engine = engine
        self._public_url = public_url.rstrip("/")

    def read(self, run_id: str, number: int) -> Notification | None:
        """One transition as a notification; None where it is gone with its run."""
        of_transition = (alert_transitions.c.run_id == run_id, alert_transitions.c.number == number)
        with reading(self._engine) as connection:
            columns = (*ALERT_COLUMNS, alerts.c.project, alerts.c.alert_key, alerts.c.labels)
            query = sa.select(*columns).join(alerts, OF_ALERT).where(*of_transition)
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            fired = (
                alert_transitions.c.run_id == run_id,
                alert_transitions.c.alert_id == row.alert_id,
                alert_transitions.c.state == "firing",
                alert_transitions.c.number <= number,
            )
            last_and_count = sa.select(sa.func.max(alert_transitions.c.time), sa.func.count())
            since, num_firings = connection.execute(last_and_count.where(*fired)).one()
        return self._notification(row, row.time if since is None else since, num_firings)

    def _notification(
        self, row: sa.Row[tuple[object, ...]], fired_at: float, num_firings: int
    ) -> Notification:
        values = dict(row._mapping)
        project, fingerprint, labels = (values.pop(name) for name in ("project", "alert_key", "labels"))
        alert = Alert(**values)
        page, snapshot = page_around(self._public_url, alert, project)
        return Notification(
            alert,
            project,
            fingerprint,
            fired_at,
            alert.time if alert.state == "resolved" else None,
            page,
            snapshot,
            was_firing=num_firings > 1,
            labels=labels or {},
        )

"""Which alerts a receiver that forgets must be told again: what fires, and what it was told once."""

from typing import Final

import sqlalchemy as sa

from foreshock.server.store.engine import reading
from foreshock.server.store.schema import alert_transitions, alerts, outbox
from foreshock.server.store.transitions import OF_ALERT

MAX_RENEWED: Final = 500


def read_firing(engine: sa.Engine, notifier: str, *, with_acknowledged: bool) -> list[tuple[str, int]]:
    """(run, number) of the last delivered firing of every alert that fires, the newest first, bounded.

    An alert whose firing was never sent, being silenced or unwanted, is not begun by a renewal.
    """
    of_transition = (outbox.c.run_id == alert_transitions.c.run_id) & (
        outbox.c.number == alert_transitions.c.number
    )
    where = [
        alerts.c.state == "firing",
        alert_transitions.c.state == "firing",
        outbox.c.notifier == notifier,
        outbox.c.delivered_at.is_not(None),
    ]
    if not with_acknowledged:
        where.append(alerts.c.acknowledged_at.is_(None))
    newest = sa.func.max(alert_transitions.c.number).label("number")
    query = (
        sa.select(alert_transitions.c.run_id, newest)
        .join(alerts, OF_ALERT)
        .join(outbox, of_transition)
        .where(*where)
        .group_by(alert_transitions.c.run_id, alert_transitions.c.alert_id)
        .order_by(sa.func.max(alerts.c.updated_at).desc(), alert_transitions.c.run_id, newest)
        .limit(MAX_RENEWED)
    )
    with reading(engine) as connection:
        return [(run_id, int(number)) for run_id, number in connection.execute(query)]

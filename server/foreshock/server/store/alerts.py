"""Alerts: written by the judge, listed and acknowledged by people.

A value that is NaN is stored as none, since SQLite has no NaN; the reason says it in words.
"""

import math
import time
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from foreshock.server.alerts.life import Transition, alert_key
from foreshock.server.errors import UnknownAlertError
from foreshock.server.store.engine import reading, writing
from foreshock.server.store.schema import alert_transitions, alerts, outbox, runs
from foreshock.wire import Alert
from foreshock.wire.messages import AlertState, Severity

# An alert of a group of runs, or of a run that was not deleted
_IS_SHOWN: Final = ~sa.exists().where(runs.c.run_id == alerts.c.run_id, runs.c.deleted_at.is_not(None))
MAX_AUTHOR: Final = 200
MAX_NOTE: Final = 2000


class AlertQuery(BaseModel):
    """What a list of alerts is asked for; newest change first."""

    model_config = ConfigDict(extra="forbid")

    run: str | None = Field(default=None, max_length=500, description="A run's id, or group:<project>/<key>.")
    project: str | None = Field(default=None, max_length=200)
    state: AlertState | None = None
    rule: str | None = Field(default=None, max_length=64)
    severity: Severity | None = None
    limit: int = Field(default=50, ge=1, le=500)
    offset: int = Field(default=0, ge=0, le=2**31)


def list_alerts(engine: sa.Engine, query: AlertQuery) -> dict[str, Any]:
    """One page of alerts, and how many there are in all."""
    wanted = {
        alerts.c.run_id: query.run,
        alerts.c.project: query.project,
        alerts.c.state: query.state,
        alerts.c.rule: query.rule,
        alerts.c.severity: query.severity,
    }
    where = [_IS_SHOWN, *(column == value for column, value in wanted.items() if value is not None)]
    page = (
        sa.select(alerts)
        .where(*where)
        .order_by(alerts.c.updated_at.desc(), alerts.c.run_id, alerts.c.alert_id.desc())
        .limit(query.limit)
        .offset(query.offset)
    )
    with reading(engine) as connection:
        total = connection.execute(sa.select(sa.func.count()).select_from(alerts).where(*where)).scalar_one()
        rows = connection.execute(page).mappings().all()
    return {"alerts": [dict(row) for row in rows], "total": total}


def read_alert(engine: sa.Engine, run_id: str, alert_id: int, project: str | None = None) -> dict[str, Any]:
    """One alert with all its transitions; raises UnknownAlertError, for one not of the project too."""
    of_alert = (alert_transitions.c.run_id == run_id, alert_transitions.c.alert_id == alert_id)
    query = sa.select(alert_transitions).where(*of_alert).order_by(alert_transitions.c.number)
    with reading(engine) as connection:
        row = _find(connection, run_id, alert_id, project)
        changes = connection.execute(query).mappings().all()
    hidden = ("run_id", "alert_id")
    shown = [{name: value for name, value in one.items() if name not in hidden} for one in changes]
    return {**row, "transitions": shown}


def acknowledge(
    engine: sa.Engine, run_id: str, alert_id: int, author: str, note: str, project: str | None = None
) -> dict[str, Any]:
    """Notes who has seen an alert and what they say; the last one counts.

    Raises UnknownAlertError, for an alert not of the project too; nothing is then noted.
    """
    seen = {"acknowledged_at": time.time(), "acknowledged_by": author, "acknowledged_note": note}
    of_alert = (alerts.c.run_id == run_id, alerts.c.alert_id == alert_id)
    with writing(engine) as connection:
        connection.execute(sa.update(alerts).where(*of_alert).values(seen))
        return _find(connection, run_id, alert_id, project)


def _find(connection: sa.Connection, run_id: str, alert_id: int, project: str | None) -> dict[str, Any]:
    of_alert = (alerts.c.run_id == run_id, alerts.c.alert_id == alert_id)
    row = connection.execute(sa.select(alerts).where(_IS_SHOWN, *of_alert)).mappings().one_or_none()
    if row is None or project not in (None, row["project"]):
        raise UnknownAlertError(
            f"there is no alert {alert_id} of {run_id[:64]!r}: GET /api/v1/alerts lists all"
        )
    return dict(row)


def open_alerts(connection: sa.Connection, run_id: str) -> list[dict[str, Any]]:
    """A run's alerts that are pending or firing, oldest first."""
    query = sa.select(alerts).where(alerts.c.run_id == run_id, alerts.c.state != "resolved")
    return [dict(row) for row in connection.execute(query.order_by(alerts.c.alert_id)).mappings()]


def write_transitions(
    connection: sa.Connection,
    run_id: str,
    project: str,
    attempt: int,
    transitions: Sequence[Transition],
    notifiers: Sequence[str],
) -> list[Alert]:
    """Stores transitions with the notifications they cause; those stored before are passed over.

    The caller's transaction holds the run's row or lease, so that numbers are given once.
    """
    written = []
    for one in transitions:
        if _is_written(connection, run_id, attempt, one):
            continue
        alert_id = _write_alert(connection, run_id, project, attempt, one)
        number = _next(connection, alert_transitions.c.number, alert_transitions.c.run_id, run_id)
        values = {"state": one.state, "step": one.step, "value": _storable(one.value)}
        connection.execute(
            sa.insert(alert_transitions).values(
                run_id=run_id, number=number, alert_id=alert_id, reason=one.reason, time=one.time, **values
            )
        )
        if _is_told(connection, run_id, alert_id, one):
            _notify(connection, run_id, number, notifiers)
        written.append(_alert(run_id, attempt, number, alert_id, one))
    return written


def _is_written(connection: sa.Connection, run_id: str, attempt: int, one: Transition) -> bool:
    """Whether this very transition is stored: the same log judged again changes nothing."""
    key = alert_key(run_id, attempt, one.rule, one.subject, one.opened_step)
    query = (
        sa.select(sa.func.count())
        .select_from(alert_transitions)
        .join(
            alerts,
            (alerts.c.run_id == alert_transitions.c.run_id)
            & (alerts.c.alert_id == alert_transitions.c.alert_id),
        )
        .where(
            alerts.c.run_id == run_id,
            alerts.c.alert_key == key,
            alert_transitions.c.state == one.state,
            alert_transitions.c.step == one.step,
            alert_transitions.c.time == one.time,
        )
    )
    return bool(connection.execute(query).scalar_one())


def _write_alert(connection: sa.Connection, run_id: str, project: str, attempt: int, one: Transition) -> int:
    """Opens or changes the alert; its number."""
    key = alert_key(run_id, attempt, one.rule, one.subject, one.opened_step)
    values: dict[str, Any] = {
        "state": one.state,
        "severity": one.severity,
        "updated_at": one.time,
        "value": _storable(one.value),
        "reason": one.reason,
        "advice": one.advice,
    }
    if one.state == "firing":
        values |= {"fired_step": one.step, "resolved_step": None}
    if one.state == "resolved":
        values |= {"resolved_step": one.step, "outcome": one.reason}
    query = sa.select(alerts).where(alerts.c.run_id == run_id, alerts.c.alert_key == key)
    row = connection.execute(query).one_or_none()
    if row is None:
        alert_id = _next(connection, alerts.c.alert_id, alerts.c.run_id, run_id)
        opened = {
            "alert_key": key,
            "project": project,
            "attempt": attempt,
            "rule": one.rule,
            "claim": one.claim,
            "subject": one.subject,
            "opened_step": one.opened_step,
            "opened_at": one.time,
        }
        connection.execute(sa.insert(alerts).values(run_id=run_id, alert_id=alert_id, **opened, **values))
        return alert_id
    if row.state == "firing" and one.state == "firing":
        values.pop("fired_step")
    if one.state == "resolved":
        # The row goes on saying why it fired, and how bad it was
        del values["reason"], values["value"]
    of_alert = (alerts.c.run_id == run_id, alerts.c.alert_id == row.alert_id)
    connection.execute(sa.update(alerts).where(*of_alert).values(values))
    return int(row.alert_id)


def _next(connection: sa.Connection, number: sa.Column[int], of: sa.Column[str], run_id: str) -> int:
    last = connection.execute(sa.select(sa.func.max(number)).where(of == run_id)).scalar_one()
    return 1 if last is None else int(last) + 1


def _is_told(connection: sa.Connection, run_id: str, alert_id: int, one: Transition) -> bool:
    """People hear of what fires, and of its end; a pending alert that lapses is only shown."""
    if one.state != "resolved":
        return one.state == "firing"
    query = sa.select(alerts.c.fired_step).where(alerts.c.run_id == run_id, alerts.c.alert_id == alert_id)
    return connection.execute(query).scalar_one() is not None


def _notify(connection: sa.Connection, run_id: str, number: int, notifiers: Sequence[str]) -> None:
    for notifier in notifiers:
        connection.execute(
            sa.insert(outbox).values(
                run_id=run_id, number=number, notifier=notifier, tries=0, next_try_at=0.0
            )
        )


def _alert(run_id: str, attempt: int, number: int, alert_id: int, one: Transition) -> Alert:
    return Alert(
        number=number,
        alert_id=alert_id,
        run_id=run_id,
        attempt=attempt,
        rule=one.rule,
        claim=one.claim,
        severity=one.severity,
        state=one.state,
        subject=one.subject,
        step=one.step,
        value=_storable(one.value),
        reason=one.reason,
        advice=one.advice,
        time=one.time,
    )


def _storable(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value

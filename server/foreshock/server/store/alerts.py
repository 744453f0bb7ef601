"""Alerts: written by the judge, listed and read by people.

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
from foreshock.server.store.engine import reading
from foreshock.server.store.schema import acknowledgements, alert_transitions, alerts, outbox, runs
from foreshock.server.store.silences import Silence, active_silences, silences_of
from foreshock.wire import Alert
from foreshock.wire.messages import AlertState, Severity

# An alert of a group of runs, or of a run that was not deleted
_IS_SHOWN: Final = ~sa.exists().where(runs.c.run_id == alerts.c.run_id, runs.c.deleted_at.is_not(None))
MAX_AUTHOR: Final = 200
MAX_NOTE: Final = 2000
MAX_SIGNAL: Final = 200
MAX_WORDS: Final = 16
ACKNOWLEDGED: Final = (
    "acknowledged_at",
    "acknowledged_by",
    "acknowledged_note",
    "acknowledged_severity",
)


class AlertQuery(BaseModel):
    """What a list of alerts is asked for; newest change first."""

    model_config = ConfigDict(extra="forbid")

    run: str | None = Field(default=None, max_length=500, description="A run's id, or group:<project>/<key>.")
    project: str | None = Field(default=None, max_length=200)
    state: AlertState | None = None
    rule: str | None = Field(default=None, max_length=64)
    severity: Severity | None = None
    q: str = Field(
        default="",
        max_length=500,
        description="Words, each of which must be in its rule, subject, signal, reason, outcome or run.",
    )
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
    where += [_says(word) for word in query.q.lower().split()[:MAX_WORDS]]
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
        active = active_silences(connection, time.time())
        of_runs = sa.select(runs.c.run_id, runs.c.name)
        of_runs = of_runs.where(runs.c.run_id.in_({row["run_id"] for row in rows}))
        names = {run.run_id: run.name for run in connection.execute(of_runs)}
    told = [{**_shown(row, active), "run_name": names.get(row["run_id"])} for row in rows]
    return {"alerts": told, "total": total}


def _says(word: str) -> sa.ColumnElement[bool]:
    """Whether an alert, or the name of its run, has a word in lower case."""
    parts = (
        alerts.c.rule,
        alerts.c.subject,
        alerts.c.reason,
        alerts.c.run_id,
        sa.func.coalesce(alerts.c.signal, ""),
        sa.func.coalesce(alerts.c.outcome, ""),
    )
    named = sa.exists().where(
        runs.c.run_id == alerts.c.run_id, sa.func.lower(runs.c.name).contains(word, autoescape=True)
    )
    return sa.or_(named, *(sa.func.lower(part).contains(word, autoescape=True) for part in parts))


def read_alert(engine: sa.Engine, run_id: str, alert_id: int, project: str | None = None) -> dict[str, Any]:
    """One alert with all its transitions, and everybody who has seen it.

    Raises UnknownAlertError, for an alert not of the project too.
    """
    of_alert = (alert_transitions.c.run_id == run_id, alert_transitions.c.alert_id == alert_id)
    query = sa.select(alert_transitions).where(*of_alert).order_by(alert_transitions.c.number)
    of_people = (
        sa.select(acknowledgements)
        .where(acknowledgements.c.run_id == run_id, acknowledgements.c.alert_id == alert_id)
        .order_by(acknowledgements.c.number)
    )
    with reading(engine) as connection:
        row = find_alert(connection, run_id, alert_id, project)
        changes = connection.execute(query).mappings().all()
        seen = connection.execute(of_people).mappings().all()
    return {**row, "transitions": _without_keys(changes), "acknowledgements": _without_keys(seen)}


def _without_keys(rows: Sequence[sa.RowMapping]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in row if name not in ("run_id", "alert_id")} for row in rows]


def find_alert(connection: sa.Connection, run_id: str, alert_id: int, project: str | None) -> dict[str, Any]:
    """One alert; raises UnknownAlertError, for one not of the project too."""
    of_alert = (alerts.c.run_id == run_id, alerts.c.alert_id == alert_id)
    row = connection.execute(sa.select(alerts).where(_IS_SHOWN, *of_alert)).mappings().one_or_none()
    if row is None or project not in (None, row["project"]):
        raise UnknownAlertError(
            f"there is no alert {alert_id} of {run_id[:64]!r}: GET /api/v1/alerts lists all"
        )
    return _shown(row, active_silences(connection, time.time()))


def _shown(row: sa.RowMapping, active: Sequence[Silence]) -> dict[str, Any]:
    """An alert as it is told: its key as fingerprint, and the silences that keep it from people now."""
    told = {"fingerprint" if name == "alert_key" else name: value for name, value in row.items()}
    return {**told, "silences": silences_of(active, row)}


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
        alert_id, was_firing = _write_alert(connection, run_id, project, attempt, one)
        number = next_number(connection, alert_transitions, run_id)
        values = {"state": one.state, "severity": one.severity, "step": one.step, **_grounds(one)}
        connection.execute(
            sa.insert(alert_transitions).values(
                run_id=run_id, number=number, alert_id=alert_id, reason=one.reason, time=one.time, **values
            )
        )
        # People hear of what fires, and of its end; a pending alert that lapses is only shown
        if one.state == "firing" or (one.state == "resolved" and was_firing):
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


def _write_alert(
    connection: sa.Connection, run_id: str, project: str, attempt: int, one: Transition
) -> tuple[int, bool]:
    """Opens or changes the alert; its number, and whether it was firing before."""
    key = alert_key(run_id, attempt, one.rule, one.subject, one.opened_step)
    query = sa.select(alerts).where(alerts.c.run_id == run_id, alerts.c.alert_key == key)
    row = connection.execute(query).one_or_none()
    if row is not None:
        of_alert = (alerts.c.run_id == run_id, alerts.c.alert_id == row.alert_id)
        connection.execute(sa.update(alerts).where(*of_alert).values(_changed(row, one)))
        return int(row.alert_id), row.state == "firing"
    alert_id = next_number(connection, alerts, run_id)
    opened = {
        "alert_key": key,
        "project": project,
        "attempt": attempt,
        "rule": one.rule,
        "claim": one.claim,
        "subject": one.subject,
        "labels": one.labels,
        "opened_step": one.opened_step,
        "opened_at": one.time,
    }
    connection.execute(
        sa.insert(alerts).values(run_id=run_id, alert_id=alert_id, **opened, **_changed(None, one))
    )
    return alert_id, False


def _changed(row: sa.Row[Any] | None, one: Transition) -> dict[str, Any]:
    """What a transition makes of an alert, None where there was none."""
    values: dict[str, Any] = {
        "state": one.state,
        "severity": one.severity,
        "updated_at": one.time,
        "flapping": one.is_flapping,
        "advice": one.advice,
    }
    if one.state == "resolved":
        values |= {"resolved_step": one.step, "outcome": one.reason}
        if row is not None:
            # The row goes on saying why it fired, how bad it was, and who has seen it
            return values
    elif row is not None and row.state == "resolved":
        values |= {"resolved_step": None, "outcome": None, **dict.fromkeys(ACKNOWLEDGED)}
    if one.state == "firing" and (row is None or row.state != "firing"):
        values["num_firings"] = 1 if row is None else row.num_firings + 1
        values["fired_step"] = one.step if row is None or row.fired_step is None else row.fired_step
    return values | {"reason": one.reason, **_grounds(one)}


def _grounds(one: Transition) -> dict[str, Any]:
    """What a transition rests on, as it is stored: what is not finite has no word in JSON."""
    grounds = one.grounds
    risk = grounds.risk and {name: value for name, value in grounds.risk.items() if math.isfinite(value)}
    eta = grounds.eta_steps
    return {
        "value": _storable(one.value),
        "signal": None if grounds.signal is None else grounds.signal[:MAX_SIGNAL],
        "layer": grounds.layer,
        "risk": risk or None,
        "eta_steps": eta if eta is not None and math.isfinite(eta) else None,
    }


def next_number(connection: sa.Connection, table: sa.Table, run_id: str) -> int:
    """The number after the last of a run, in a table whose key is the run and a number."""
    _, number = table.primary_key
    last = connection.execute(sa.select(sa.func.max(number)).where(table.c.run_id == run_id)).scalar_one()
    return 1 if last is None else int(last) + 1


def _notify(connection: sa.Connection, run_id: str, number: int, notifiers: Sequence[str]) -> None:
    for notifier in notifiers:
        connection.execute(
            sa.insert(outbox).values(
                run_id=run_id, number=number, notifier=notifier, tries=0, next_try_at=0.0
            )
        )


def _alert(run_id: str, attempt: int, number: int, alert_id: int, one: Transition) -> Alert:
    return Alert(
        **_grounds(one),
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
        reason=one.reason,
        advice=one.advice,
        time=one.time,
    )


def _storable(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value

"""What nobody is told, though it was found: what is silenced waits, what was seen is done with.

A notification is looked at when it is due. While a silence fits its alert it waits, and no other of its
run waits behind it. When the silence ends, what has waited is brought up to date: an alert that still
fires is told once, by its last firing; of one that is over only the end is told, and that only to whoever
heard of its beginning. A firing that is no worse than what somebody has acknowledged is not told.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import sqlalchemy as sa

from foreshock.server.alerts.life import SEVERITY_ORDER
from foreshock.server.store.engine import reading, writing
from foreshock.server.store.schema import alert_transitions, alerts, outbox
from foreshock.server.store.silences import Silence, active_silences
from foreshock.server.store.transitions import OF_ALERT, SEVERITY

# Of the outbox: what is not delivered, not held by a silence, and not done with
IS_FREE: Final = sa.and_(
    outbox.c.delivered_at.is_(None), outbox.c.silence_id.is_(None), outbox.c.withheld.is_(None)
)
OVERTAKEN: Final = "it was silenced, and what came after it is told in its place"
OVER: Final = "it was over before its silence was"
UNHEARD: Final = "its beginning was not told"
_OF_OUTBOX: Final = sa.and_(
    alert_transitions.c.run_id == outbox.c.run_id, alert_transitions.c.number == outbox.c.number
)
Row = Mapping[Any, Any]


class Place(Protocol):
    """Where a notification stands in the outbox: its run, and its number there."""

    @property
    def run_id(self) -> str:
        """The run, or the group of runs."""

    @property
    def number(self) -> int:
        """The transition's number within it."""


P = TypeVar("P", bound=Place)


@dataclass(frozen=True, slots=True)
class Restraint:
    """Sorts out of what is due what is not to be told now, for one database; `clock` as the outbox's."""

    engine: sa.Engine
    clock: Callable[[], float]

    def release(self, notifier: str) -> None:
        """Brings up to date what waited for silences that are over."""
        with reading(self.engine) as connection:
            if not self._released(connection, notifier):
                return
        with writing(self.engine) as connection:
            by_alert: dict[tuple[str, int], list[Row]] = {}
            for row in self._released(connection, notifier):
                by_alert.setdefault((row["run_id"], row["alert_id"]), []).append(row)
            for (run_id, alert_id), rows in by_alert.items():
                told = self._last_told(connection, notifier, run_id, alert_id)
                for row, withheld in bring_up_to_date(rows, told):
                    values = {"silence_id": None, "withheld": withheld}
                    connection.execute(_of(notifier, row["run_id"], row["number"]).values(values))

    def allowed(self, notifier: str, due: Sequence[P]) -> list[P]:
        """Of what is due, what may be told; the rest waits for its silence, or is done with."""
        if not due:
            return []
        with reading(self.engine) as connection:
            active = active_silences(connection, self.clock())
            facts = {(row["run_id"], row["number"]): row for row in self._facts(connection, notifier, due)}
        allowed = []
        for one in due:
            row = facts.get((one.run_id, one.number))
            if row is None or not self._hold_back(notifier, row, active):
                allowed.append(one)
        return allowed

    def _hold_back(self, notifier: str, row: Row, active: Sequence[Silence]) -> bool:
        silence = next((one for one in active if one.fits(row)), None)
        if silence is not None:
            values = {"silence_id": silence.silence_id}
        elif row["state"] == "firing" and _is_seen(row):
            values = {"withheld": f"{row['acknowledged_by']} had seen it, and it was no worse"}
        elif row["state"] == "resolved" and self._is_unheard(notifier, row):
            values = {"withheld": UNHEARD}
        else:
            return False
        with writing(self.engine) as connection:
            connection.execute(_of(notifier, row["run_id"], row["number"]).where(IS_FREE).values(values))
        return True

    def _facts(self, connection: sa.Connection, notifier: str, due: Sequence[P]) -> list[Row]:
        keys = [(one.run_id, one.number) for one in due]
        query = _query().where(
            outbox.c.notifier == notifier, sa.tuple_(outbox.c.run_id, outbox.c.number).in_(keys)
        )
        return [dict(row) for row in connection.execute(query).mappings()]

    def _released(self, connection: sa.Connection, notifier: str) -> list[Row]:
        """What silences hold that do not live, oldest first."""
        is_held = (
            outbox.c.notifier == notifier,
            outbox.c.silence_id.is_not(None),
            outbox.c.withheld.is_(None),
            outbox.c.delivered_at.is_(None),
        )
        held = set(connection.execute(sa.select(outbox.c.silence_id).where(*is_held).distinct()).scalars())
        if not held:
            return []
        over = held - {one.silence_id for one in active_silences(connection, self.clock())}
        query = _query().where(*is_held, outbox.c.silence_id.in_(over)).order_by(outbox.c.number)
        return [dict(row) for row in connection.execute(query).mappings()] if over else []

    def _last_told(
        self, connection: sa.Connection, notifier: str, run_id: str, alert_id: int
    ) -> tuple[int, str] | None:
        """Number and state of the last notification of an alert that was delivered."""
        query = (
            sa.select(outbox.c.number, alert_transitions.c.state)
            .join(alert_transitions, _OF_OUTBOX)
            .where(
                outbox.c.notifier == notifier,
                outbox.c.run_id == run_id,
                outbox.c.delivered_at.is_not(None),
                alert_transitions.c.alert_id == alert_id,
            )
            .order_by(outbox.c.number.desc())
            .limit(1)
        )
        row = connection.execute(query).one_or_none()
        return None if row is None else (row.number, row.state)

    def _is_unheard(self, notifier: str, row: Row) -> bool:
        """Whether every firing since the alert last resolved was withheld."""
        query = (
            sa.select(alert_transitions.c.state, outbox.c.withheld)
            .join(alert_transitions, _OF_OUTBOX)
            .where(
                outbox.c.notifier == notifier,
                outbox.c.run_id == row["run_id"],
                outbox.c.number < row["number"],
                alert_transitions.c.alert_id == row["alert_id"],
            )
            .order_by(outbox.c.number.desc())
        )
        with reading(self.engine) as connection:
            before = connection.execute(query).all()
        end = next((place for place, one in enumerate(before) if one.state == "resolved"), len(before))
        return end > 0 and all(one.withheld is not None for one in before[:end])


def bring_up_to_date(rows: Sequence[Row], told: tuple[int, str] | None) -> list[tuple[Row, str | None]]:
    """Of one alert's notifications that were held, oldest first, why each is not told; None: it is.

    told: number and state of the last that was delivered. At most one is told.
    """
    fires = rows[-1]["alert_state"] == "firing"
    wanted = "firing" if fires else "resolved"
    chosen = next((row for row in reversed(rows) if row["state"] == wanted), None)
    if chosen is not None and told is not None and chosen["number"] < told[0]:
        chosen = None
    if not fires and (told is None or told[1] != "firing"):
        chosen = None
    return [(row, None if row is chosen else OVERTAKEN if fires else OVER) for row in rows]


def _is_seen(row: Row) -> bool:
    if row["acknowledged_severity"] is None:
        return False
    return SEVERITY_ORDER[row["severity"]] <= SEVERITY_ORDER[row["acknowledged_severity"]]


def _query() -> sa.Select[Any]:
    """Notifications with what silences look for; `severity` and `state` are the transition's."""
    names = ("project", "rule", "claim", "subject", "labels", "acknowledged_by", "acknowledged_severity")
    return (
        sa.select(
            outbox.c.run_id,
            outbox.c.number,
            alert_transitions.c.alert_id,
            alert_transitions.c.state,
            SEVERITY,
            alerts.c.state.label("alert_state"),
            *(alerts.c[name] for name in names),
        )
        .join(alert_transitions, _OF_OUTBOX)
        .join(alerts, OF_ALERT)
    )


def _of(notifier: str, run_id: str, number: int) -> sa.Update:
    return sa.update(outbox).where(
        outbox.c.notifier == notifier, outbox.c.run_id == run_id, outbox.c.number == number
    )

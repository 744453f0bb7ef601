"""Delivers what the outbox holds: at least once, in order for each run, with patience that ends.

Each notifier has its own thread, so that one that hangs delays neither the others nor the judge. A
delivery that fails is tried again after 1, 2, 4 .. 300 seconds with jitter, and given up after
`MAX_TRIES`; its error stays in the outbox. While one notification of a run waits for its next try,
later ones of the same run wait behind it, those of other runs do not.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import sqlalchemy as sa

from foreshock.server.alerts.notifier import Notification, Notifier
from foreshock.server.alerts.restraint import IS_FREE, Restraint
from foreshock.server.store.engine import reading, writing
from foreshock.server.store.schema import alert_transitions, alerts, outbox
from foreshock.server.store.transitions import ALERT_COLUMNS, OF_ALERT
from foreshock.wire import Alert

MAX_TRIES: Final = 12
MAX_PAUSE_SECONDS: Final = 300.0
MAX_AT_ONCE: Final = 100
# While a delivery is under way nobody else takes it; if its process dies, it is due again after this
CLAIM_SECONDS: Final = 60.0
NEVER: Final = 1e12

log = logging.getLogger("foreshock.outbox")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A notification that is still to be delivered."""

    run_id: str
    number: int
    notifier: str
    tries: int
    next_try_at: float


class Outbox:
    """Hands due notifications to their notifiers."""

    def __init__(
        self,
        engine: sa.Engine,
        notifiers: Sequence[Notifier],
        *,
        public_url: str = "",
        pause_seconds: float = 0.5,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._engine = engine
        self._notifiers = tuple(notifiers)
        self._public_url = public_url.rstrip("/")
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._restraint = Restraint(engine, clock)
        self._jitter = jitter
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(one,), name=f"foreshock-{one.name}", daemon=True)
            for one in self._notifiers
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which the judge puts notifications into the outbox."""
        return tuple(one.name for one in self._notifiers)

    def start(self) -> None:
        """Starts one thread for each notifier."""
        for thread in self._threads:
            thread.start()

    def stop(self, wait_seconds: float = 2.0) -> None:
        """Ends the threads; one that hangs in a delivery is not waited for, it is due again later."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(wait_seconds)

    def _run(self, notifier: Notifier) -> None:
        while not self._stop.wait(self._pause_seconds):
            try:
                self.deliver(notifier)
            except Exception:
                log.exception("the outbox of %s cannot be read or written", notifier.name)

    def deliver(self, notifier: Notifier) -> int:
        """Tries every notification that is due; how many were delivered."""
        delivered = 0
        behind: set[str] = set()
        for row in self._due(notifier.name):
            if self._stop.is_set():
                break
            if row.run_id in behind or not self._claim(row):
                behind.add(row.run_id)
            elif self._try(notifier, row):
                delivered += 1
            else:
                behind.add(row.run_id)
        return delivered

    def _due(self, name: str) -> list[Waiting]:
        """Of each run all that wait, from the oldest on, unless that one's time has not come.

        What is silenced, or was seen already, is not among them.
        """
        self._restraint.release(name)
        waits = (outbox.c.notifier == name, IS_FREE, outbox.c.next_try_at < NEVER)
        oldest = (
            sa.select(outbox.c.run_id, sa.func.min(outbox.c.number).label("number"))
            .where(*waits)
            .group_by(outbox.c.run_id)
            .subquery()
        )
        head = outbox.alias()
        query = (
            sa.select(
                outbox.c.run_id, outbox.c.number, outbox.c.notifier, outbox.c.tries, outbox.c.next_try_at
            )
            .join(oldest, oldest.c.run_id == outbox.c.run_id)
            .join(
                head,
                (head.c.run_id == oldest.c.run_id)
                & (head.c.number == oldest.c.number)
                & (head.c.notifier == name),
            )
            .where(*waits, head.c.next_try_at <= self._clock())
            .order_by(outbox.c.run_id, outbox.c.number)
            .limit(MAX_AT_ONCE)
        )
        with reading(self._engine) as connection:
            due = [Waiting(*row) for row in connection.execute(query)]
        return self._restraint.allowed(name, due)

    def _claim(self, row: Waiting) -> bool:
        """Takes a notification for this process; False where another has it."""
        values = {"tries": row.tries + 1, "next_try_at": self._clock() + CLAIM_SECONDS}
        is_same = (outbox.c.next_try_at == row.next_try_at, outbox.c.delivered_at.is_(None))
        with writing(self._engine) as connection:
            return connection.execute(self._of(row).where(*is_same).values(values)).rowcount == 1

    def _try(self, notifier: Notifier, row: Waiting) -> bool:
        try:
            notifier.notify(self._read(row.run_id, row.number))
        except Exception as error:
            self._postpone(row, f"{type(error).__name__}: {error}"[:1000])
            return False
        with writing(self._engine) as connection:
            connection.execute(self._of(row).values(delivered_at=self._clock(), last_error=None))
        return True

    def _postpone(self, row: Waiting, error: str) -> None:
        tries = row.tries + 1
        pause = min(MAX_PAUSE_SECONDS, 2.0 ** (tries - 1)) * (0.5 + self._jitter())
        when = self._clock() + pause
        if tries >= MAX_TRIES:
            when, error = NEVER, f"given up after {tries} tries: {error}"
        log.warning("%s did not take notification %d of %s: %s", row.notifier, row.number, row.run_id, error)
        with writing(self._engine) as connection:
            connection.execute(self._of(row).values(next_try_at=when, last_error=error))

    def _of(self, row: Waiting) -> sa.Update:
        return sa.update(outbox).where(
            outbox.c.run_id == row.run_id,
            outbox.c.number == row.number,
            outbox.c.notifier == row.notifier,
        )

    def _read(self, run_id: str, number: int) -> Notification:
        of_transition = (alert_transitions.c.run_id == run_id, alert_transitions.c.number == number)
        with reading(self._engine) as connection:
            columns = (*ALERT_COLUMNS, alerts.c.project, alerts.c.alert_key)
            query = sa.select(*columns).join(alerts, OF_ALERT).where(*of_transition)
            row = connection.execute(query).one()
            fired = (
                alert_transitions.c.run_id == run_id,
                alert_transitions.c.alert_id == row.alert_id,
                alert_transitions.c.state == "firing",
                alert_transitions.c.number <= number,
            )
            fired_at = connection.execute(sa.select(sa.func.max(alert_transitions.c.time)).where(*fired))
            since = fired_at.scalar_one()
        return self._notification(row, row.time if since is None else since)

    def _notification(self, row: sa.Row[tuple[object, ...]], fired_at: float) -> Notification:
        values = dict(row._mapping)
        project, fingerprint = values.pop("project"), values.pop("alert_key")
        alert = Alert(**values)
        path = "/compare" if alert.run_id.startswith("group:") else f"/runs/{quote(alert.run_id)}"
        return Notification(
            alert,
            project,
            fingerprint,
            fired_at,
            alert.time if alert.state == "resolved" else None,
            self._public_url + path,
        )

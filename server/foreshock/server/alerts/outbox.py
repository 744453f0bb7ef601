"""Delivers what the outbox holds: at least once, in order for each run, with patience that ends.

Each notifier has its own thread, so that one that hangs delays neither the others nor the judge. What
waits of one run goes as one message. A delivery that fails is tried again after 1, 2, 4 .. 300 seconds
with jitter, or when the receiver says, and given up after `MAX_TRIES` (a day), or after `MAX_REFUSALS`
(a minute and a half) where the receiver has said no; its error stays in the outbox. While one
notification of a run waits for its next try, later ones of the same run wait behind it, those of other
runs do not. Where more messages wait than a notifier may be sent, they are joined into one digest. A
message of several that was refused is taken apart, so that one bad alert takes no other with it.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from foreshock.server.alerts.channel import Channel
from foreshock.server.alerts.firing import read_firing
from foreshock.server.alerts.notification_reader import NotificationReader
from foreshock.server.alerts.notifier import DeliveryError, Notification, Notifier, Renewing
from foreshock.server.alerts.restraint import IS_FREE, Restraint
from foreshock.server.alerts.waiting import NEVER
from foreshock.server.store.engine import reading, writing
from foreshock.server.store.schema import outbox

MAX_TRIES: Final = 300
MAX_REFUSALS: Final = 5
MAX_PAUSE_SECONDS: Final = 300.0
MAX_AT_ONCE: Final = 100
UNWANTED: Final = "the notifier does not want it"
# While a delivery is under way nobody else takes it; if its process dies, it is due again after this
CLAIM_SECONDS: Final = 60.0

log = logging.getLogger("foreshock.outbox")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A notification that is still to be delivered."""

    run_id: str
    number: int
    notifier: str
    tries: int
    next_try_at: float


@dataclass(frozen=True, slots=True)
class Parcel:
    """The same, with what it says."""

    row: Waiting
    notification: Notification

    @property
    def key(self) -> tuple[str, int]:
        """Which one it is."""
        return self.row.run_id, self.row.number


class Outbox:
    """Hands due notifications to their notifiers."""

    def __init__(
        self,
        engine: sa.Engine,
        notifiers: Sequence[Notifier | Channel],
        *,
        public_url: str = "",
        pause_seconds: float = 0.5,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._engine = engine
        self.channels = {
            one.name: one if isinstance(one, Channel) else Channel(one, clock=clock) for one in notifiers
        }
        self._reader = NotificationReader(engine, public_url)
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._restraint = Restraint(engine, clock)
        self._jitter = jitter
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(one,), name=f"foreshock-{one.name}", daemon=True)
            for one in self.channels.values()
        ]
        # Parts of a message that was refused, by run and number: they go one by one
        self._alone: set[tuple[str, int]] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which the judge puts notifications into the outbox."""
        return tuple(self.channels)

    def start(self) -> None:
        """Starts one thread for each notifier."""
        for thread in self._threads:
            thread.start()

    def stop(self, wait_seconds: float = 2.0) -> None:
        """Ends the threads; one that hangs in a delivery is not waited for, it is due again later."""
        self._stop.set()
        end = time.monotonic() + wait_seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, end - time.monotonic()))

    def _run(self, channel: Channel) -> None:
        while not self._stop.wait(self._pause_seconds):
            try:
                self.deliver(channel)
                channel.renew(lambda notifier: self.read_firing(channel, notifier))
            except Exception:
                log.exception("the outbox of %s cannot be read or written", channel.name)

    def deliver(self, notifier: Notifier | Channel) -> int:
        """Tries every notification that is due; how many were delivered."""
        channel = self.channels[notifier.name]
        if channel.room() < 1:
            return 0
        delivered = 0
        behind: set[str] = set()
        for message in self._messages(channel, self._wanted(channel, self._due(channel.name))):
            if self._stop.is_set():
                break
            taken, lost = self._claim_all([one for one in message if one.row.run_id not in behind])
            behind |= lost
            if taken and self._try(channel, taken):
                delivered += len(taken)
            else:
                behind |= {one.row.run_id for one in taken}
        return delivered

    def _wanted(self, channel: Channel, rows: Sequence[Waiting]) -> list[Parcel]:
        """What the notifier wants to hear of; the rest, and what a deleted run has left, is done with."""
        wanted = []
        for row in rows:
            notification = self._reader.read(row.run_id, row.number)
            if notification is not None and channel.selection.takes(notification):
                wanted.append(Parcel(row, notification))
            else:
                with writing(self._engine) as connection:
                    connection.execute(self._of(row).values(withheld=UNWANTED))
        return wanted

    def _messages(self, channel: Channel, parcels: Sequence[Parcel]) -> list[list[Parcel]]:
        """What goes together: by run, or all as one digest where there is no room for each by itself."""
        messages: list[list[Parcel]] = []
        for one in parcels:
            before = messages[-1][-1] if messages else None
            if before is None or before.row.run_id != one.row.run_id or {before.key, one.key} & self._alone:
                messages.append([])
            messages[-1].append(one)
        room = channel.room()
        if len(messages) > room:
            apart = {one.row.run_id for one in parcels if one.key in self._alone}
            joined = [one for one in parcels if one.row.run_id not in apart]
            messages = [joined] * bool(joined) + [one for one in messages if one[0].row.run_id in apart]
            messages = messages[: int(room)]
        return messages

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

    def _claim_all(self, parcels: Sequence[Parcel]) -> tuple[list[Parcel], set[str]]:
        """What is taken for this process, and the runs of which another has something."""
        taken: list[Parcel] = []
        lost: set[str] = set()
        for one in parcels:
            if one.row.run_id in lost or not self._claim(one.row):
                lost.add(one.row.run_id)
            else:
                taken.append(one)
        return taken, lost

    def _claim(self, row: Waiting) -> bool:
        """Takes a notification for this process; False where another has it."""
        values = {"tries": row.tries + 1, "next_try_at": self._clock() + CLAIM_SECONDS}
        is_same = (outbox.c.next_try_at == row.next_try_at, outbox.c.delivered_at.is_(None))
        with writing(self._engine) as connection:
            return connection.execute(self._of(row).where(*is_same).values(values)).rowcount == 1

    def _try(self, channel: Channel, parcels: Sequence[Parcel]) -> bool:
        try:
            channel.send([one.notification for one in parcels])
        except DeliveryError as error:
            self._note_failure(channel, parcels, error)
            return False
        self._alone -= {one.key for one in parcels}
        self._settle([one.row for one in parcels])
        return True

    def _settle(self, rows: Sequence[Waiting]) -> None:
        with writing(self._engine) as connection:
            for row in rows:
                connection.execute(self._of(row).values(delivered_at=self._clock(), last_error=None))

    def _note_failure(self, channel: Channel, parcels: Sequence[Parcel], error: DeliveryError) -> None:
        first, more = parcels[0].row, len(parcels) - 1
        what = f"notification {first.number} of {first.run_id}" + (f" and {more} more" if more else "")
        log.warning("%s did not take %s: %s", channel.name, what, error)
        if error.is_final and more:
            # Nobody has said no to any of them by itself
            self._alone |= {one.key for one in parcels}
            self._put_off([(one.row, one.row.tries, self._clock(), str(error)) for one in parcels])
        else:
            self._put_off([self._next(channel, one, error) for one in parcels])

    def _next(
        self, channel: Channel, parcel: Parcel, error: DeliveryError
    ) -> tuple[Waiting, int, float, str]:
        """When, and whether, a notification is tried again."""
        tries = parcel.row.tries + 1
        if tries < (MAX_REFUSALS if error.is_final else MAX_TRIES):
            # A refusal seldom ends within seconds
            grown = (4.0 if error.is_final else 2.0) ** min(tries - 1, 16)
            pause = min(MAX_PAUSE_SECONDS, grown) * (0.5 + self._jitter())
            later = self._clock() + max(pause, error.retry_after_seconds or 0.0)
            return parcel.row, tries, later, str(error)
        told = f"given up after {tries} tries: {error}"
        channel.give_up(1)
        self._alone.discard(parcel.key)
        log.error("%s: notification %d of %s is %s", channel.name, *reversed(parcel.key), told)
        return parcel.row, tries, NEVER, told

    def _put_off(self, changes: Sequence[tuple[Waiting, int, float, str]]) -> None:
        with writing(self._engine) as connection:
            for row, tries, when, told in changes:
                values = {"tries": tries, "next_try_at": when, "last_error": told}
                connection.execute(self._of(row).values(values))

    def _of(self, row: Waiting) -> sa.Update:
        return sa.update(outbox).where(
            outbox.c.run_id == row.run_id,
            outbox.c.number == row.number,
            outbox.c.notifier == row.notifier,
        )

    def read_firing(self, channel: Channel, notifier: Renewing) -> list[Notification]:
        """What the notifier is told again."""
        with_acknowledged = notifier.renews_acknowledged
        found = read_firing(self._engine, channel.name, with_acknowledged=with_acknowledged)
        firing = [self._reader.read(run_id, number) for run_id, number in found]
        return [one for one in firing if one is not None and channel.selection.takes(one)]

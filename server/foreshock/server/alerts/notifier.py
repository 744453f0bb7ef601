"""The seam of notifications: a name, and one method that delivers or raises."""

from dataclasses import dataclass, field
from typing import Protocol

from foreshock.wire import Alert


@dataclass(frozen=True, slots=True)
class Notification:
    """One transition to tell of, with what a reader needs to find the run.

    `fingerprint` is the alert's identity and stays the same over all its transitions; a receiver
    that gets one twice knows it by fingerprint, state and `alert.number`.
    """

    alert: Alert
    project: str
    fingerprint: str
    fired_at: float
    resolved_at: float | None
    page: str


class Notifier(Protocol):
    """Where notifications go. Delivered at least once, in order for each run."""

    @property
    def name(self) -> str:
        """The name under which the outbox keeps what is still to be delivered."""

    def notify(self, notification: Notification) -> None:
        """Delivers one notification; raises whatever went wrong, and is asked again later."""


@dataclass(slots=True)
class MemoryNotifier:
    """Keeps what it is told, for tests and for programs that embed the collector."""

    name: str = "memory"
    received: list[Notification] = field(default_factory=list)

    def notify(self, notification: Notification) -> None:
        """Keeps the notification."""
        self.received.append(notification)

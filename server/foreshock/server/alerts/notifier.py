"""The seam of notifications: a name, and one method that delivers a message or raises."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from foreshock.wire import Alert


class DeliveryError(Exception):
    """Raised when a message was not taken.

    `is_final`: the receiver understood and said no, so that the very same message will hardly be taken
    later. `retry_after_seconds`: when the receiver wants to be asked again, where it said so.
    """

    def __init__(
        self, told: str, *, is_final: bool = False, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(told)
        self.is_final = is_final
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Notification:
    """One transition to tell of, with what a reader needs to find the run.

    `fingerprint` is the alert's identity and stays the same over all its transitions; a receiver
    that gets one twice knows it by fingerprint, state and `alert.number`. `was_firing`: it was told as
    firing before, with a severity that may have been lower. `page` is the run's, `snapshot` the picture
    around the step; the picture is for those who may read there. `labels` are those of the user's rule,
    as they were when the alert opened.
    """

    alert: Alert
    project: str
    fingerprint: str
    fired_at: float
    resolved_at: float | None
    page: str
    snapshot: str = ""
    was_firing: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


class Notifier(Protocol):
    """Where notifications go. Delivered at least once, in order for each run."""

    @property
    def name(self) -> str:
        """The name under which the outbox keeps what is still to be delivered."""

    def notify(self, message: Sequence[Notification]) -> None:
        """Delivers one message, oldest notification first, all of it or nothing.

        It ends within a bounded time, and raises whatever went wrong: it is then asked again later.
        """


@runtime_checkable
class Renewing(Notifier, Protocol):
    """A notifier whose receiver forgets what fires unless it is told again and again."""

    @property
    def renew_seconds(self) -> float:
        """How often what fires is told again."""

    @property
    def renews_acknowledged(self) -> bool:
        """Whether that goes for what somebody has seen, too."""

    def renew(self, firing: Sequence[Notification]) -> None:
        """Tells again what fires now; raises as `notify` does."""


@dataclass(slots=True)
class MemoryNotifier:
    """Keeps what it is told, for tests and for programs that embed the collector."""

    name: str = "memory"
    received: list[Notification] = field(default_factory=list)

    def notify(self, message: Sequence[Notification]) -> None:
        """Keeps the notifications."""
        self.received.extend(message)

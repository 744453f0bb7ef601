"""A notifier as the outbox drives it: what it wants, how often it may be sent to, how it fares."""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from foreshock.server.alerts.notifier import DeliveryError, Notification, Notifier, Renewing
from foreshock.server.alerts.secrets import Secrets
from foreshock.server.alerts.selection import Selection
from foreshock.server.rates import Allowance

MAX_SHOWN: Final = 500
# After a renewal that failed
MAX_RENEWAL_PAUSE_SECONDS: Final = 5.0
RESULTS: Final = ("delivered", "failed", "given_up")

log = logging.getLogger("foreshock.notifiers")


@dataclass(slots=True)
class Health:
    """How a notifier has fared since the collector started. Times are seconds since the epoch."""

    delivered: int = 0
    failed: int = 0
    given_up: int = 0
    last_success_at: float | None = None
    last_failure_at: float | None = None
    last_error: str | None = None
    last_renewal_at: float | None = None


@dataclass(frozen=True, slots=True)
class Counters:
    """Counts of all notifiers, for Prometheus."""

    notifications: Counter
    last_success: Gauge

    @classmethod
    def create(cls, registry: CollectorRegistry) -> "Counters":
        """Registers them; a registry takes them once."""
        return cls(
            Counter(
                "foreshock_notifications",
                "Notifications by what became of each try.",
                ["notifier", "result"],
                registry=registry,
            ),
            Gauge(
                "foreshock_notifications_last_success_timestamp_seconds",
                "When the notifier last took one.",
                ["notifier"],
                registry=registry,
            ),
        )


@dataclass(slots=True)
class Channel:
    """One notifier with all that is kept about it.

    kind: log, webhook, alertmanager, apprise, or another's own.
    shown: its address as people may read it.
    max_per_minute: messages; None is no limit. What is held back goes as one digest.
    """

    notifier: Notifier
    kind: str = "own"
    shown: str | None = None
    selection: Selection = field(default_factory=Selection)
    secrets: Secrets = field(default_factory=Secrets)
    max_per_minute: float | None = None
    clock: Callable[[], float] = time.time
    health: Health = field(default_factory=Health)
    counters: Counters | None = None
    _allowance: Allowance | None = field(init=False, default=None)
    _held_until: float = field(init=False, default=0.0)
    _next_renewal_at: float = field(init=False, default=0.0)
    # A test is sent by a request while the outbox sends by its own thread
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.max_per_minute is not None:
            self._allowance = Allowance(self.max_per_minute / 60, self.clock, most=self.max_per_minute)

    @property
    def name(self) -> str:
        """The notifier's."""
        return self.notifier.name

    def note_in(self, counters: Counters) -> None:
        """Counts from now on; every result is there from the start, as 0."""
        self.counters = counters
        for result in RESULTS:
            counters.notifications.labels(self.name, result)

    def room(self) -> float:
        """How many messages may be sent at this moment."""
        if self.clock() < self._held_until:
            return 0
        return math.inf if self._allowance is None else self._allowance.whole()

    def send(self, message: Sequence[Notification]) -> None:
        """Sends a message; raises DeliveryError, in whose words there is no secret."""
        if self._allowance is not None:
            self._allowance.take(1)
        failure = self.attempt(self.notifier.notify, message)
        with self._lock:
            if failure is None:
                self.health.delivered += len(message)
                self.health.last_success_at = self.clock()
            else:
                self.health.failed += len(message)
                self._note_failure(failure)
                if failure.retry_after_seconds is not None:
                    self._held_until = self.clock() + failure.retry_after_seconds
        self._count("delivered" if failure is None else "failed", len(message))
        if failure is not None:
            raise failure

    def renew(self, read: Callable[[Renewing], Sequence[Notification]]) -> None:
        """Tells again what fires, where its time has come and the notifier is one that does so."""
        notifier = self.notifier
        if not isinstance(notifier, Renewing):
            return
        if self.clock() < max(self._next_renewal_at, self._held_until):
            return
        self._next_renewal_at = self.clock() + notifier.renew_seconds
        firing = read(notifier)
        failure = self.attempt(notifier.renew, firing) if firing else None
        with self._lock:
            if failure is None:
                self.health.last_renewal_at = self.clock()
                return
            self._note_failure(failure)
            # Sooner than the next one would be, so that a receiver that was away soon knows all again
            self._next_renewal_at = self.clock() + min(notifier.renew_seconds, MAX_RENEWAL_PAUSE_SECONDS)
        log.warning("%s was not told again of %d alerts: %s", self.name, len(firing), failure)

    def attempt(
        self, act: Callable[[Sequence[Notification]], None], message: Sequence[Notification]
    ) -> DeliveryError | None:
        """What went wrong, in words without a secret; None where nothing did."""
        try:
            act(message)
        except DeliveryError as error:
            told = self._safe(str(error))
            return DeliveryError(told, is_final=error.is_final, retry_after_seconds=error.retry_after_seconds)
        except Exception as error:
            return DeliveryError(self._safe(f"{type(error).__name__}: {error}"))
        return None

    def give_up(self, num_notifications: int) -> None:
        """Counts what is tried no more."""
        with self._lock:
            self.health.given_up += num_notifications
        self._count("given_up", num_notifications)

    def describe(self) -> Mapping[str, Any]:
        """What people may know of it."""
        with self._lock:
            held = self._held_until if self.clock() < self._held_until else None
            return {
                "name": self.name,
                "kind": self.kind,
                "address": self.shown,
                "wants": self.selection,
                "max_per_minute": self.max_per_minute,
                "held_until": held,
                "health": self.health,
            }

    def _safe(self, told: str) -> str:
        return self.secrets.hide(told)[:MAX_SHOWN]

    def _note_failure(self, failure: DeliveryError) -> None:
        self.health.last_failure_at = self.clock()
        self.health.last_error = str(failure)

    def _count(self, result: str, num_notifications: int) -> None:
        if self.counters is None:
            return
        self.counters.notifications.labels(self.name, result).inc(num_notifications)
        if result == "delivered":
            self.counters.last_success.labels(self.name).set(self.clock())

"""Alerts pushed to Alertmanager's API v2, and told again for as long as they fire."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from foreshock.server.alerts.http_post import HttpPost
from foreshock.server.alerts.notifier import Notification
from foreshock.server.alerts.selection import SEVERITIES
from foreshock.server.alerts.webhook import newest, rfc3339
from foreshock.server.alerts.wording import annotations, labels
from foreshock.server.nonfinite import encode_json

PATH: Final = "/api/v2/alerts"
# An alert outlives so many renewals that did not come, as Prometheus has it: a collector that is
# restarted resolves nothing
RENEWALS_MISSED: Final = 5


@dataclass(frozen=True, slots=True)
class AlertmanagerNotifier:
    """Posts alerts with an end in the near future, and puts that end off while they fire.

    renew_seconds: how often what fires is posted again; it ends after five of these without word.
    renews_acknowledged: whether what somebody has seen is put off too; without, Alertmanager resolves it.
    """

    post: HttpPost
    renew_seconds: float = 60.0
    renews_acknowledged: bool = True
    name: str = "alertmanager"
    clock: Callable[[], float] = time.time

    def notify(self, message: Sequence[Notification]) -> None:
        """Posts every alert as it is now; raises DeliveryError for a refusal, or no answer in time."""
        self.post(encode_json([told for one in newest(message) for told in self._alerts(one)]))

    def renew(self, firing: Sequence[Notification]) -> None:
        """Posts again what fires."""
        self.post(encode_json([self._alert(one) for one in newest(firing)]))

    def _alerts(self, one: Notification) -> Iterator[dict[str, Any]]:
        """The alert; and where it has got worse, the ends of what it was before, a label being another."""
        severity = one.alert.severity
        lower = SEVERITIES[: SEVERITIES.index(severity)] if one.was_firing else ()
        for before in lower:
            ended = self._alert(one, rfc3339(self.clock()))
            yield {**ended, "labels": {**ended["labels"], "severity": before}}
        yield self._alert(one)

    def _alert(self, one: Notification, ends_at: str | None = None) -> dict[str, Any]:
        now = self.clock()
        # Runs have clocks of their own; an end in the future would be none
        ended = None if one.resolved_at is None else min(one.resolved_at, now)
        until = now + RENEWALS_MISSED * self.renew_seconds if ended is None else ended
        return {
            "labels": {name: value for name, value in labels(one).items() if value},
            "annotations": annotations(one),
            "startsAt": rfc3339(min(one.fired_at, now, until)),
            "endsAt": ends_at or rfc3339(until),
            "generatorURL": one.page,
        }

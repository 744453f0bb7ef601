"""Notifications to a webhook, in the body that Alertmanager's own webhook receiver sends (version 4)."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from foreshock.server.alerts.notifier import Notification
from foreshock.server.nonfinite import encode_json

NOT_ENDED: Final = "0001-01-01T00:00:00Z"
RECEIVER: Final = "foreshock"


@dataclass(slots=True)
class WebhookNotifier:
    """Posts each notification; an answer other than 2xx is a failure and is tried again."""

    url: str
    timeout_seconds: float = 10.0
    external_url: str = ""
    name: str = "webhook"
    _client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._client = httpx.Client(timeout=self.timeout_seconds, follow_redirects=False)

    def notify(self, notification: Notification) -> None:
        """Posts one body; raises for a refusal, a timeout or no connection."""
        body = encode_json(webhook_body(notification, self.external_url))
        answer = self._client.post(self.url, content=body, headers={"Content-Type": "application/json"})
        answer.raise_for_status()

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


def webhook_body(notification: Notification, external_url: str) -> dict[str, Any]:
    """Alertmanager's v4 body: labels identify the alert, annotations describe it."""
    alert = notification.alert
    status = "resolved" if alert.state == "resolved" else "firing"
    labels = {
        "alertname": alert.rule,
        "run": alert.run_id,
        "project": notification.project,
        "attempt": str(alert.attempt),
        "subject": alert.subject,
        "severity": alert.severity,
        "claim": alert.claim,
    }
    annotations = {
        "summary": f"{alert.rule} {status} in {alert.run_id} at step {alert.step}",
        "description": alert.reason,
        "advice": alert.advice,
        "step": str(alert.step),
        "value": "" if alert.value is None else f"{alert.value:.6g}",
    }
    group = {"alertname": alert.rule, "run": alert.run_id}
    ended = notification.resolved_at
    return {
        "version": "4",
        "groupKey": "{}:{" + ", ".join(f'{name}="{value}"' for name, value in group.items()) + "}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": RECEIVER,
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": external_url,
        "alerts": [
            {
                "status": status,
                "labels": labels,
                "annotations": annotations,
                "startsAt": _rfc3339(notification.fired_at),
                "endsAt": NOT_ENDED if ended is None else _rfc3339(ended),
                "generatorURL": notification.page,
                "fingerprint": notification.fingerprint,
            }
        ],
    }


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

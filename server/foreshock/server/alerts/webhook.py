"""Notifications to a webhook, in the body that Alertmanager's own webhook receiver sends (version 4)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from foreshock.server.alerts.http_post import HttpPost
from foreshock.server.alerts.notifier import Notification
from foreshock.server.alerts.wording import annotations, labels
from foreshock.server.nonfinite import encode_json

NOT_ENDED: Final = "0001-01-01T00:00:00Z"
RECEIVER: Final = "foreshock"
_GROUP: Final = ("alertname", "run")


@dataclass(frozen=True, slots=True)
class WebhookNotifier:
    """Posts each message; an answer other than 2xx is a failure and is tried again.

    max_alerts: alerts that one body may hold, the rest is counted in `truncatedAlerts`; 0 is no limit.
    """

    post: HttpPost
    external_url: str = ""
    max_alerts: int = 0
    name: str = "webhook"

    def notify(self, message: Sequence[Notification]) -> None:
        """Posts one body; raises DeliveryError for a refusal, a timeout or no connection."""
        self.post(encode_json(webhook_body(message, self.external_url, self.name, self.max_alerts)))


def webhook_body(
    message: Sequence[Notification], external_url: str, receiver: str = RECEIVER, max_alerts: int = 0
) -> dict[str, Any]:
    """Alertmanager's v4 body; of an alert that changed twice, as it is now."""
    told = [_alert(one) for one in newest(message)]
    shown = told[:max_alerts] if max_alerts else told
    common = _common([one["labels"] for one in told])
    group = {name: common[name] for name in _GROUP if name in common}
    return {
        "version": "4",
        "groupKey": "{}:{" + ", ".join(f"{name}={_quoted(value)}" for name, value in group.items()) + "}",
        "truncatedAlerts": len(told) - len(shown),
        "status": "firing" if any(one["status"] == "firing" for one in told) else "resolved",
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": common,
        "commonAnnotations": _common([one["annotations"] for one in told]),
        "externalURL": external_url,
        "alerts": shown,
    }


def newest(message: Iterable[Notification]) -> list[Notification]:
    """Each alert once, with its last change, in the order in which they first changed."""
    return list({one.fingerprint: one for one in message}.values())


def rfc3339(seconds: float) -> str:
    """A time as Alertmanager reads and writes it, in milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _alert(one: Notification) -> dict[str, Any]:
    ended = one.resolved_at
    return {
        "status": "firing" if ended is None else "resolved",
        "labels": labels(one),
        "annotations": annotations(one),
        "startsAt": rfc3339(one.fired_at),
        "endsAt": NOT_ENDED if ended is None else rfc3339(ended),
        "generatorURL": one.page,
        "fingerprint": one.fingerprint,
    }


def _common(told: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What all of them say."""
    first, *others = told
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in others)}


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)

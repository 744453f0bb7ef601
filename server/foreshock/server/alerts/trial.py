"""A message that tries a notifier out, past outbox and rate limit."""

import time
from typing import Any, Final

from foreshock.server.alerts.channel import Channel
from foreshock.server.alerts.notifier import Notification
from foreshock.wire import Alert

RULE: Final = "test"


def try_channel(channel: Channel, address: str) -> dict[str, Any]:
    """Sends a test message and tells whether it arrived, in how long, and if not why, without secrets."""
    began = time.monotonic()
    failure = channel.attempt(channel.notifier.notify, [_message(channel.name, address)])
    return {
        "name": channel.name,
        "kind": channel.kind,
        "delivered": failure is None,
        "seconds": round(time.monotonic() - began, 3),
        "error": None if failure is None else str(failure),
    }


def _message(name: str, address: str) -> Notification:
    now = time.time()
    alert = Alert(
        number=1,
        alert_id=1,
        run_id=f"test-of-{name}",
        attempt=0,
        rule=RULE,
        claim="rule",
        severity="info",
        state="firing",
        subject="notifier",
        step=0,
        value=None,
        reason=f"Somebody tries the notifier {name}; no run is the matter.",
        advice="Nothing is to be done.",
        time=now,
    )
    return Notification(alert, "foreshock", f"test-of-{name}", now, None, f"{address}/alerts")

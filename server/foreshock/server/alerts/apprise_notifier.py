"""Notifications through apprise: Slack, mail, PagerDuty and some hundred other services.

Apprise works in a process of its own, started for the message and killed when its time is over: no
service can hold a thread, and the collector never holds what apprise imports (some 35 MiB).
"""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final

from foreshock.server.alerts.http_post import LATER
from foreshock.server.alerts.notifier import DeliveryError, Notification
from foreshock.server.alerts.wording import text, title
from foreshock.server.errors import ServerError

_STATUS: Final = re.compile(r"error=(\d{3})\b")
CHILD: Final = "foreshock.server.alerts.apprise_child"
_TYPES: Final = {"info": "info", "warning": "warning", "critical": "failure"}

# The picture around an alert's step: the run's id and the alert's number in, PNG bytes out
Picture = Callable[[str, int], bytes]


@dataclass(frozen=True, slots=True)
class AppriseNotifier:
    """Sends each message to one apprise address.

    url: apprise's address of the service, which holds its secrets.
    picture: what draws the snapshot that goes with the message where the service takes one; None sends
        words alone.
    """

    name: str
    url: str = field(repr=False)
    timeout_seconds: float = 30.0
    picture: Picture | None = field(default=None, repr=False)

    def notify(self, message: Sequence[Notification]) -> None:
        """Sends one message; raises DeliveryError with apprise's reason, or when the time is over."""
        self._run(
            {
                "url": self.url,
                "title": title(message),
                "body": text(message),
                "type": _type(message),
                "picture": self._draw(message),
            }
        )

    def _draw(self, message: Sequence[Notification]) -> str | None:
        """The newest alert's snapshot; one that cannot be drawn keeps no message back."""
        shown = next((one for one in reversed(message) if one.snapshot), None)
        if self.picture is None or shown is None:
            return None
        try:
            return base64.b64encode(self.picture(shown.alert.run_id, shown.alert.alert_id)).decode()
        except ServerError:
            return None

    def _run(self, said: dict[str, Any]) -> None:
        if find_spec("apprise") is None:
            raise DeliveryError("apprise is not installed: pip install 'foreshock[server]'", is_final=True)
        command = [sys.executable, "-P", "-m", CHILD]
        told = b""
        try:
            # By the pipe: a command line is everybody's to read
            told = subprocess.run(
                command,
                input=json.dumps(said).encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=self.timeout_seconds,
            ).stdout
        except subprocess.TimeoutExpired:
            failure = f"no answer within {self.timeout_seconds:g} seconds"
        except OSError as error:
            failure = f"apprise cannot be started: {error.strerror or type(error).__name__}"
        else:
            failure = _failure(told)
        # Raised out here, so that nothing that holds the address hangs on it
        if failure:
            raise DeliveryError(failure, is_final=_is_final(failure))


def _failure(told: bytes) -> str:
    """What the child says went wrong; empty where the message was taken."""
    try:
        return str(json.loads(told)["failure"])
    except (ValueError, KeyError, TypeError):
        return "apprise ended without a word"


def _is_final(failure: str) -> bool:
    """Whether the service, or apprise for it, has said no; apprise ends such lines with `error=403`."""
    status = _STATUS.search(failure)
    if status is None:
        return failure.startswith("apprise cannot read")
    return 300 <= int(status[1]) < 500 and int(status[1]) not in LATER


def _type(message: Sequence[Notification]) -> str:
    """Apprise's word, from which services take colour and urgency."""
    firing = {one.alert.severity for one in message if one.alert.state != "resolved"}
    if not firing:
        return "success"
    return _TYPES[next((one for one in ("critical", "warning") if one in firing), "info")]

"""Notifications into the collector's log, one line each."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from foreshock.server.alerts.notifier import Notification

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}

log = logging.getLogger("foreshock.alerts")


@dataclass(frozen=True, slots=True)
class LogNotifier:
    """Writes to the logger `foreshock.alerts`, at a level that follows the severity."""

    name: str = "log"

    def notify(self, message: Sequence[Notification]) -> None:
        """Writes one line for each."""
        for notification in message:
            alert = notification.alert
            log.log(
                logging.INFO if alert.state == "resolved" else _LEVELS[alert.severity],
                "%s %s: %s of %s at step %d: %s %s",
                alert.state,
                alert.severity,
                alert.rule,
                alert.run_id,
                alert.step,
                alert.reason,
                notification.page,
            )

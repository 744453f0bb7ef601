"""Which alerts a notifier wants to hear of."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from foreshock.server.alerts.notifier import Notification
from foreshock.wire.messages import Claim, Severity

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")


@dataclass(frozen=True, slots=True)
class Selection:
    """What a notifier wants; empty means all.

    `projects` and `rules` are names with the wildcards of a shell (`prod-*`).
    """

    min_severity: Severity = "info"
    claims: Sequence[Claim] = ()
    projects: Sequence[str] = ()
    rules: Sequence[str] = ()
    send_resolved: bool = True

    def takes(self, notification: Notification) -> bool:
        """Whether the notifier wants to hear of this."""
        alert = notification.alert
        return (
            SEVERITIES.index(alert.severity) >= SEVERITIES.index(self.min_severity)
            and (not self.claims or alert.claim in self.claims)
            and _is_among(notification.project, self.projects)
            and _is_among(alert.rule, self.rules)
            and (self.send_resolved or alert.state != "resolved")
        )


def _is_among(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)

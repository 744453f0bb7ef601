"""An alert in Alertmanager's terms, and in words: labels identify it, annotations describe it."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from foreshock.server.alerts.notifier import Notification

MAX_TEXT: Final = 4096
MAX_TOLD: Final = 20
_LAYER: Final = re.compile(r"layer (\d+)|.*\[(\d+)\]")


def labels(notification: Notification) -> dict[str, str]:
    """What stays the same over the alert's life, its severity excepted, which may rise.

    The layer is a label only where it is the alert's subject: a label that changes makes a new alert. A
    rule's own labels go with it; one that is empty is none, as Alertmanager has it.
    """
    alert = notification.alert
    found = {
        "alertname": alert.rule,
        "attempt": str(alert.attempt),
        "claim": alert.claim,
        "project": notification.project,
        "rule": alert.rule,
        "run": alert.run_id,
        "severity": alert.severity,
        "subject": alert.subject,
    }
    if (layer := _LAYER.fullmatch(alert.subject)) is not None:
        found["layer"] = layer[1] or layer[2]
    own = {name: value for name, value in notification.labels.items() if value}
    return dict(sorted({**own, **found}.items()))


def annotations(notification: Notification) -> dict[str, str]:
    """What was seen and what to do; only what there is."""
    alert = notification.alert
    told = {
        "summary": headline(notification),
        "description": shorten(alert.reason),
        "advice": shorten(alert.advice),
        "step": str(alert.step),
        "value": "" if alert.value is None else f"{alert.value:.6g}",
        "signal": alert.signal or "",
        "layer": "" if alert.layer is None else str(alert.layer),
        "risk": ", ".join(f"{share:.2g} within {reach}" for reach, share in (alert.risk or {}).items()),
        "eta_steps": "" if alert.eta_steps is None else f"{alert.eta_steps:.0f}",
        "snapshot": notification.snapshot,
    }
    return {name: text for name, text in sorted(told.items()) if text}


def headline(notification: Notification) -> str:
    """One line: what, where, since which step."""
    alert = notification.alert
    status = "resolved" if alert.state == "resolved" else "firing"
    return f"{alert.rule} {status} in {alert.run_id} at step {alert.step}"


def title(message: Sequence[Notification]) -> str:
    """The line that a phone shows: the worst first, and how many there are."""
    if len(message) == 1:
        (one,) = message
        state = "resolved" if one.alert.state == "resolved" else one.alert.severity
        return f"[{state}] {headline(one)}"
    states = [one.alert.state for one in message]
    num_resolved = states.count("resolved")
    counts = ((len(message) - num_resolved, "firing"), (num_resolved, "resolved"))
    told = ", ".join(f"{count} {state}" for count, state in counts if count)
    runs = sorted({one.alert.run_id for one in message})
    where = runs[0] if len(runs) == 1 else f"{len(runs)} runs"
    worst = next((one for one in ("critical", "warning") if one in _severities(message)), "info")
    return f"[{'resolved' if num_resolved == len(message) else worst}] {told} in {where}"


def _severities(message: Iterable[Notification]) -> set[str]:
    return {one.alert.severity for one in message if one.alert.state != "resolved"}


def text(message: Sequence[Notification]) -> str:
    """The message in plain words, for people in chats and mails; beyond some alerts only the count."""
    parts = [_paragraph(one, with_headline=len(message) > 1) for one in message[:MAX_TOLD]]
    if len(message) > MAX_TOLD:
        parts.append(f"and {len(message) - MAX_TOLD} more: see the page of alerts")
    return "\n\n".join(parts)


def _paragraph(one: Notification, *, with_headline: bool) -> str:
    alert = one.alert
    when = datetime.fromtimestamp(alert.time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    told = [headline(one)] if with_headline else []
    told.append(shorten(alert.reason))
    if alert.advice and alert.state != "resolved":
        told.append(f"Advice: {shorten(alert.advice)}")
    told.append(f"Project {one.project}, run {alert.run_id}, {alert.severity}, {when}")
    if one.labels:
        told.append(", ".join(f"{name}={value}" for name, value in sorted(one.labels.items())))
    return "\n".join([*told, *filter(None, (one.page, one.snapshot))])


def shorten(said: str, most: int = MAX_TEXT) -> str:
    """The text, cut where it is longer than any receiver should have to take."""
    return said if len(said) <= most else f"{said[: most - 4]} ..."

"""What `foreshock alerts` does with alerts: one request to a collector, one answer."""

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from foreshock.server.keeping import ask, run_command


def list_command(
    asked: Mapping[str, str | None], limit: int, url: str | None, token: str | None, *, as_json: bool
) -> int:
    """The exit status: 0, or 2 where the collector gave no answer."""

    def act() -> None:
        given = {name: value for name, value in asked.items() if value is not None}
        told = ask("GET", f"/alerts?{urlencode({**given, 'limit': limit})}", url, token)
        if as_json:
            print(json.dumps(told))
            return
        for one in told["alerts"]:
            print(_line(one))
        rest = told["total"] - len(told["alerts"])
        if rest:
            print(f"and {rest} more: --limit, or name what is looked for")
        elif not told["alerts"]:
            print("no alert" if not given else "no such alert")

    return run_command("alerts list", act)


def show_command(run: str, number: int, url: str | None, token: str | None, *, as_json: bool) -> int:
    """The exit status: 0, or 2 where there is no such alert."""

    def act() -> None:
        told = ask("GET", f"/alerts/{quote(run, safe='')}/{number}", url, token)
        print(json.dumps(told) if as_json else "\n".join(_history(told)))

    return run_command("alerts show", act)


def acknowledge_command(
    run: str, number: int, author: str, note: str, url: str | None, token: str | None, *, as_json: bool
) -> int:
    """The exit status: 0, or 2 where nothing was noted."""

    def act() -> None:
        path = f"/alerts/{quote(run, safe='')}/{number}/acknowledge"
        told = ask("POST", path, url, token, {"author": author, "note": note})
        line = f"alert {number} of {run} is acknowledged by {told['acknowledged_by']}"
        print(json.dumps(told) if as_json else line)

    return run_command("alerts ack", act)


def _line(one: Mapping[str, Any]) -> str:
    step = one["opened_step"] if one["fired_step"] is None else one["fired_step"]
    seen = f", acknowledged by {one['acknowledged_by']}" if one["acknowledged_by"] else ""
    quiet = f", silenced until {when(one['silences'][0]['ends_at'])}" if one["silences"] else ""
    flaps = ", flapping" if one["flapping"] else ""
    return (
        f"{one['run_id']} {one['alert_id']}: {one['state']} {one['severity']} {one['rule']} "
        f"({one['subject']}) since step {step}{flaps}{quiet}{seen}: {one['reason']}"
    )


def _history(one: Mapping[str, Any]) -> list[str]:
    lines = [_line(one)]
    if one["labels"]:
        lines.append("  " + ", ".join(f"{name}={value}" for name, value in sorted(one["labels"].items())))
    if one["advice"]:
        lines.append(f"  what to do: {one['advice']}")
    lines += [
        f"  {change['state']} at step {change['step']}, {when(change['time'])}: {change['reason']}"
        for change in one["transitions"]
    ]
    lines += [
        f"  seen by {seen['author']}, {when(seen['time'])}{': ' if seen['note'] else ''}{seen['note']}"
        for seen in one["acknowledgements"]
    ]
    return lines


def when(seconds: float) -> str:
    """A time in the words of this machine's clock."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))

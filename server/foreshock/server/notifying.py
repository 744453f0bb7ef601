"""What `foreshock alerts notifiers` and `foreshock alerts test` do: one request a notifier."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from rich.console import Console

from foreshock.server.keeping import ask, run_command

# Longer than the longest that a notifier may take
_TEST_SECONDS: Final = 60.0


def notifiers_command(url: str | None, token: str | None, *, as_json: bool) -> int:
    """The exit status: 0, or 2 where the collector gave no answer."""

    def act() -> None:
        told = ask("GET", "/notifiers", url, token)
        print(json.dumps(told) if as_json else "\n".join(map(_line, told["notifiers"])))

    return run_command("alerts notifiers", act)


def test_command(name: str | None, url: str | None, token: str | None, *, as_json: bool) -> int:
    """The exit status: 0 where every message was taken, 1 where one was not, 2 without an answer."""
    tried: list[dict[str, Any]] = []

    def act() -> None:
        names = (
            [one["name"] for one in ask("GET", "/notifiers", url, token)["notifiers"]]
            if name is None
            else [name]
        )
        with Console(stderr=True).status("") as status:
            for one in names:
                status.update(f"{one}: a test message is under way")
                tried.append(
                    ask("POST", f"/notifiers/{quote(one, safe='')}/test", url, token, seconds=_TEST_SECONDS)
                )
        print(json.dumps({"notifiers": tried}) if as_json else "\n".join(map(_result, tried)))

    failed = run_command("alerts test", act)
    return failed or int(not all(one["delivered"] for one in tried))


def _result(one: Mapping[str, Any]) -> str:
    if one["delivered"]:
        return f"{one['name']} ({one['kind']}): taken in {one['seconds']:.2f} s"
    return f"{one['name']} ({one['kind']}): NOT taken after {one['seconds']:.2f} s: {one['error']}"


def _line(one: Mapping[str, Any]) -> str:
    health = one["health"]
    told = [f"{one['name']} ({one['kind']}{_where(one)})", f"{health['delivered']} delivered"]
    told.append(f"last at {_when(health['last_success_at'])}" if health["last_success_at"] else "none yet")
    told += [f"{one['waiting']} waiting"] if one["waiting"] else []
    told += [f"{one['given_up']} given up"] if one["given_up"] else []
    if health["last_failure_at"] and health["last_failure_at"] > (health["last_success_at"] or 0):
        told.append(f"failing since then, last at {_when(health['last_failure_at'])}: {health['last_error']}")
    return ", ".join(told)


def _where(one: Mapping[str, Any]) -> str:
    return f", {one['address']}" if one["address"] else ""


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

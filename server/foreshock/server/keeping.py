"""What `foreshock runs` and `foreshock projects` do: one request to a collector, one answer."""

import json
import os
import re
import sys
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import httpx

from foreshock.server.errors import InvalidError, ServerError

URL: Final = "http://127.0.0.1:8787"
_UNITS: Final = {
    "": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate(("", "k", "M", "G", "T"))},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate(("", "K", "M", "G", "T")) if prefix},
}
_SIZES: Final = {unit.lower(): size for unit, size in _UNITS.items()}


class RemoteError(ServerError):
    """Raised when the collector cannot be reached, or refuses."""


def delete_command(run: str, url: str | None, token: str | None, *, as_json: bool) -> int:
    """The exit status: 0, or 2 where nothing was deleted."""

    def act() -> None:
        told = ask("DELETE", f"/runs/{quote(run, safe='')}", url, token)
        _print(told, f"run {run} is deleted: its rows go within minutes, its id stays taken", as_json)

    return run_command("runs delete", act)


def pin_command(run: str, verb: str, url: str | None, token: str | None, *, as_json: bool) -> int:
    """The exit status: 0, or 2 where nothing was changed."""

    def act() -> None:
        told = ask("POST", f"/runs/{quote(run, safe='')}/{verb}", url, token)
        state = "kept whatever its project's limits say" if told["pinned"] else "left to its project's limits"
        _print(told, f"run {run} is {state}", as_json)

    return run_command(f"runs {verb}", act)


def keep_command(
    project: str,
    days: float | None,
    num_bytes: str | None,
    url: str | None,
    token: str | None,
    *,
    as_json: bool,
) -> int:
    """The exit status: 0, or 2 where nothing was set."""

    def act() -> None:
        limits = {"keep_days": days, "keep_bytes": None if num_bytes is None else parse_bytes(num_bytes)}
        told = ask("PUT", f"/projects/{quote(project, safe='')}", url, token, limits)
        _print(told, f"project {project} keeps {_limits(told)}", as_json)

    return run_command("projects keep", act)


def list_command(url: str | None, token: str | None, *, as_json: bool) -> int:
    """The exit status: 0, or 2 where the collector gave no answer."""

    def act() -> None:
        told = ask("GET", "/projects", url, token)
        lines = (
            f"{one['project']}: {one['num_runs']} runs, {one['num_bytes']:,} bytes; keeps {_limits(one)}"
            for one in told["projects"]
        )
        _print(told, "\n".join(lines) or "no project yet", as_json)

    return run_command("projects list", act)


def parse_bytes(text: str) -> int:
    """Bytes of "10GB", "500 MiB", "1000"; raises InvalidError."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*", text)
    if found is None or found[2].lower() not in _SIZES:
        raise InvalidError(f"{text!r} is no size: give bytes, or a number with {', '.join(list(_UNITS)[1:])}")
    return int(float(found[1]) * _SIZES[found[2].lower()])


def ask(
    method: str,
    path: str,
    url: str | None,
    token: str | None,
    body: Any = None,
    *,
    seconds: float = 30.0,
) -> dict[str, Any]:
    """The collector's answer; raises RemoteError with what it, or the network, said."""
    base = (url or os.environ.get("FORESHOCK_URL") or URL).rstrip("/")
    token = token or os.environ.get("FORESHOCK_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.request(
            method, f"{base}/api/v1{path}", headers=headers, json=body, timeout=seconds, trust_env=False
        )
        told: dict[str, Any] = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise RemoteError(
            f"no collector answers at {base} ({error}): give its address with --url or FORESHOCK_URL"
        ) from error
    except ValueError as error:
        raise RemoteError(
            f"{base} answered {answer.status_code}, but is no collector: check --url"
        ) from error
    if not answer.is_success:
        raise RemoteError(f"{told.get('title', 'refused')}: {told.get('detail', answer.status_code)}")
    return told


def _limits(one: dict[str, Any]) -> str:
    days = "" if one["keep_days"] is None else f"{one['keep_days']:g} days"
    size = "" if one["keep_bytes"] is None else f"{one['keep_bytes']:,} bytes"
    return " and ".join(filter(None, (days, size))) or "everything"


def _print(told: dict[str, Any], line: str, as_json: bool) -> None:
    print(json.dumps(told) if as_json else line)


def run_command(name: str, act: Callable[[], None]) -> int:
    """The exit status of a command: 0, or 2 after one line on stderr that says what went wrong."""
    try:
        act()
    except ServerError as error:
        print(f"foreshock {name}: {error.detail}", file=sys.stderr)
        return 2
    return 0

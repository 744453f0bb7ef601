"""What `foreshock alerts` does with silences: one request to a collector, one answer."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from foreshock.server.alert_desk import when
from foreshock.server.errors import InvalidError
from foreshock.server.keeping import ask, run_command

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Wish:
    """A silence as the command line gives it; times as people write them."""

    matchers: tuple[str, ...]
    author: str
    comment: str
    lasting: str | None
    until: str | None
    start: str | None
    project: str | None

    def as_json(self) -> dict[str, Any]:
        """What the collector is asked for; raises InvalidError for what cannot be read."""
        from foreshock.server.alerts.matcher import read_matcher

        if (self.lasting is None) == (self.until is None):
            raise InvalidError("give --for or --until, one of both, such as --for 2h")
        return {
            "matchers": [read_matcher(one) for one in self.matchers],
            "author": self.author,
            "comment": self.comment,
            "project": self.project,
            "starts_at": None if self.start is None else read_time("--start", self.start),
            "ends_at": None if self.until is None else read_time("--until", self.until),
            "duration_seconds": None if self.lasting is None else read_duration(self.lasting),
        }


def silence_command(wish: Wish, url: str | None, token: str | None, *, as_json: bool) -> int:
    """The exit status: 0, or 2 where nothing was silenced."""

    def act() -> None:
        told = ask("POST", "/silences", url, token, wish.as_json())
        print(json.dumps(told) if as_json else _line(told))

    return run_command("alerts silence", act)


def silences_command(url: str | None, token: str | None, *, as_json: bool) -> int:
    """The exit status: 0, or 2 where the collector gave no answer."""

    def act() -> None:
        told = ask("GET", "/silences", url, token)
        lines = "\n".join(map(_line, told["silences"])) or "no silence"
        print(json.dumps(told) if as_json else lines)

    return run_command("alerts silences", act)


def unsilence_command(silence_id: str, url: str | None, token: str | None, *, as_json: bool) -> int:
    """The exit status: 0, or 2 where there is no such silence."""

    def act() -> None:
        told = ask("DELETE", f"/silences/{quote(silence_id, safe='')}", url, token)
        print(json.dumps(told) if as_json else _line(told))

    return run_command("alerts unsilence", act)


def read_duration(text: str) -> float:
    """Seconds of "90s", "30m", "2h", "1.5d"; raises InvalidError."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", text.strip())
    if found is None:
        raise InvalidError(f"--for is {text!r}: give a number with s, m, h, d or w behind it, such as 2h")
    return float(found[1]) * _SECONDS[found[2]]


def read_time(option: str, text: str) -> float:
    """Seconds since the epoch of an ISO 8601 time, by this machine's zone where it names none."""
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidError(
            f"{option} is {text!r}: give a time such as {time.strftime('%Y-%m-%dT%H:%M')}"
        ) from error


def _line(one: Mapping[str, Any]) -> str:
    matchers = " ".join(f"{part['name']}{part['operator']}{part['value']}" for part in one["matchers"])
    where = "" if one["project"] is None else f" in project {one['project']}"
    end = one["expired_at"] or one["ends_at"]
    span = f"{when(one['starts_at'])} to {when(end)}"
    return (
        f"{one['silence_id']}: {one['state']}, {matchers}{where}, {span}, by {one['author']}: "
        f"{one['comment']}"
    )

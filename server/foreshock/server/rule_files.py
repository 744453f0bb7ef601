"""What `foreshock rules` does: rules files checked and listed, a collector asked for its own."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from foreshock.server.detection.rules import default_rules
from foreshock.server.detection.user_rules import RuleBook, RulesFileError, load_rules, shipped_book
from foreshock.server.detection.user_rules.shipped import settings_of
from foreshock.server.detection.user_rules.user_rule import UserRule
from foreshock.server.errors import ServerError
from foreshock.server.keeping import ask


def check_command(file: Path, *, as_json: bool) -> int:
    """The exit status: 0, 1 where the file is not valid, 2 where it cannot be read."""

    def act() -> int:
        try:
            book = load_rules(file)
        except RulesFileError as error:
            if isinstance(error.__cause__, OSError):
                raise
            told = [
                {"line": one.place.line, "column": one.place.column, "problem": one.words}
                for one in error.problems
            ]
            lines = "\n".join(one.told(str(file)) for one in error.problems)
            print(json.dumps({"valid": False, "problems": told}) if as_json else lines)
            return 1
        said = f"{file} is valid: {len(book.own)} own rules, {len(book.disabled)} shipped switched off"
        print(json.dumps({"valid": True, "problems": []}) if as_json else said)
        return 0

    return _run("check", act)


def list_command(file: Path | None, *, as_json: bool) -> int:
    """The exit status: 0, or 2 where the file is not valid."""

    def act() -> int:
        book = shipped_book() if file is None else load_rules(file)
        shipped = [_shipped(rule, book) for rule in default_rules()]
        own = [rule.said() for rule in book.own]
        if as_json:
            print(json.dumps({"shipped": shipped, "own": own}))
            return 0
        table = Table(box=None, pad_edge=False)
        for title in ("rule", "claim", "settings"):
            table.add_column(title, overflow="fold", no_wrap=title == "rule")
        for one in shipped:
            settings = _words(one["settings"]) if one["enabled"] else "switched off"
            table.add_row(*map(Text, (one["name"], one["claim"], settings)))
        for one in own:
            rest = {key: value for key, value in one.items() if key not in ("name", "claim", "advice")}
            table.add_row(*map(Text, (one["name"], one["claim"], _words(rest))))
        Console().print(table)
        return 0

    return _run("list", act)


def status_command(url: str | None, token: str | None, *, as_json: bool) -> int:
    """The exit status: 0, 1 where the collector's file is not valid, 2 where it gives no answer."""

    def act() -> int:
        told = ask("GET", "/rules", url, token)
        if as_json:
            print(json.dumps(told))
            return 0 if told["valid"] else 1
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(told["taken_at"]))
        source = told["file"] or "no file, the shipped ones"
        print(f"{len(told['rules'])} rules judge since {since}, from {source}: {', '.join(told['rules'])}")
        for one in told["problems"]:
            print(f"{told['file']}:{one['line']}:{one['column']}: {one['problem']}")
        if not told["valid"]:
            print("The file is not valid as it is now; the rules from before go on judging.")
        return 0 if told["valid"] else 1

    return _run("status", act)


def _shipped(rule: Any, book: RuleBook) -> dict[str, Any]:
    """A shipped rule as the book has it, or as it would be were it not switched off."""
    judged = next((one for one in book.rules if one.name == rule.name), rule)
    assert not isinstance(judged, UserRule)
    enabled = rule.name not in book.disabled
    return {"name": rule.name, "claim": rule.claim, "enabled": enabled, "settings": settings_of(judged)}


def _words(settings: Mapping[str, Any]) -> str:
    """Settings on one line; nested ones in braces."""
    return ", ".join(
        f"{key} {{{_words(value)}}}" if isinstance(value, Mapping) else f"{key} {value}"
        for key, value in settings.items()
    )


def _run(name: str, act: Callable[[], int]) -> int:
    try:
        return act()
    except ServerError as error:
        print(f"foreshock rules {name}: {error.detail}", file=sys.stderr)
        return 2

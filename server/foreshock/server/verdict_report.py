"""What `foreshock verdict` does: one question to a collector, its answer as tables for people."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from foreshock.server.errors import ServerError
from foreshock.server.keeping import ask

STATUS: Final = {"restart": 0, "wait": 1, "undecided": 3}
REFUSED: Final = 2
_SIGNS: Final = {"met": ("✓", "green"), "failed": ("✗", "red"), "missing": ("?", "yellow")}
_COLOURS: Final = {"restart": "green", "wait": "red", "undecided": "yellow"}
_READINGS: Final = {"first_tenth": "first 10 %", "after_fault": "after fault", "before_onset": "before onset"}

Told = Mapping[str, Any]


def verdict_command(
    project: str,
    group_by: str | None,
    constrained: str | None,
    baseline: str | None,
    url: str | None,
    token: str | None,
    *,
    as_json: bool,
) -> int:
    """The exit status: 0 restart, 1 wait, 3 undecided, 2 where the collector gave no verdict."""
    asked = {"project": project, "group_by": group_by, "constrained": constrained, "baseline": baseline}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    try:
        told = ask("GET", f"/verdict?{query}", url, token)
    except ServerError as error:
        print(f"foreshock verdict: {error.detail}", file=sys.stderr)
        return REFUSED
    if as_json:
        print(json.dumps(told))
    else:
        console = Console()
        for part in report(_printable(told)):
            console.print(part)
    return STATUS[told["state"]]


def report(told: Told) -> Iterator[RenderableType]:
    """The verdict in words, its conditions, the tests, the stress tests, the groups, what to bear in mind."""
    yield Text(told["sentence"], style=f"bold {_COLOURS[told['state']]}")
    yield Text(f"{told['project']}, runs grouped by {told['group_by']}\n", style="dim")
    yield _conditions(told["requirements"])
    if told["tests"]:
        yield Text()
        yield _tests(told["tests"].values())
    if told["stress_tests"]:
        yield Text()
        yield _stress(told["stress_tests"])
    if told["groups"]:
        yield Text()
        yield _groups(told["groups"])
    if told["notes"]:
        yield Text("\nTo bear in mind", style="bold")
        yield from (Text(f"- {note}") for note in told["notes"])
    if len(told["candidates"]) > 1:
        others = ", ".join(f"{one['constrained']}: {one['state']}" for one in told["candidates"])
        yield Text(f"\nAll constrained groups: {others}. --constrained GROUP tells of another.")


def _table(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", header_style="dim")
    return table


def _conditions(requirements: Sequence[Told]) -> Table:
    table = Table.grid(padding=(0, 1))
    for one in requirements:
        sign, colour = _SIGNS[one["state"]]
        words = Text(one["title"], style="bold")
        words.append(f"\n{one['words']}", style="not bold")
        if one["todo"]:
            words.append(f"\n→ {one['todo']}", style="not bold italic")
        table.add_row(Text(sign, style=colour), words)
    return table


def _tests(tests: Iterable[Told]) -> Table:
    table = _table(
        "Variance across seeds, baseline over constrained",
        "of", "test", "p", "ratio", "95 % interval", "runs", "evidence",
        right=("p", "ratio"),
    )  # fmt: skip
    for one in tests:
        low, high = one["interval"]
        table.add_row(
            one["quantity"].replace("_", " "),
            one["test"],
            _number(one["p_value"]),
            _number(one["effect"]),
            f"{_number(low)} to {_number(high)}",
            f"{one['num_constrained']} against {one['num_baseline']}",
            "weak: few seeds" if one["is_weak"] else "full",
        )
    return table


def _stress(tests: Sequence[Told]) -> Table:
    table = _table(
        "Stress tests: warned of within 10 % of the steps?",
        "run", "steps", "fault", "warned", "by", "onset", *_READINGS.values(), "outcome",
        right=("steps", "fault", "warned", "onset"),
    )  # fmt: skip
    for one in tests:
        readings = [
            _read(one[name]) + (" (decides)" if name == one["decided_by"] else "") for name in _READINGS
        ]
        steps = (_step(one[name]) for name in ("total_steps", "fault_step", "warning_step"))
        total, fault, warned = steps
        rule, onset = one["warning_rule"] or "-", _step(one["onset_step"])
        table.add_row(escape(one["name"]), total, fault, warned, rule, onset, *readings, one["outcome"])
    return table


def _groups(groups: Sequence[Told]) -> Table:
    table = _table(
        "Groups",
        "group", "role", "runs", "seeds", "running", "died", "largest peak gain",
        right=("runs", "seeds", "running", "died", "largest peak gain"),
    )  # fmt: skip
    for one in groups:
        counts = (str(one[name]) for name in ("num_runs", "num_seeds", "num_running", "num_died"))
        table.add_row(escape(one["key"]), one["role"], *counts, _number(one["peak_gain"]))
    return table


def _printable(value: Any) -> Any:
    """Names and keys without what would steer a terminal."""
    if isinstance(value, str):
        return "".join(one if one.isprintable() else "�" for one in value)
    if isinstance(value, dict):
        return {key: _printable(member) for key, member in value.items()}
    return [_printable(member) for member in value] if isinstance(value, list) else value


def _number(value: float | str | None) -> str:
    """Three digits; the API spells numbers that are not finite."""
    return "-" if value is None else value if isinstance(value, str) else f"{value:.3g}"


def _step(value: int | None) -> str:
    return "-" if value is None else str(value)


def _read(holds: bool | None) -> str:
    return "-" if holds is None else "yes" if holds else "no"

"""What `foreshock rules test` does: a rules file tried on a recorded run."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from foreshock.exchange.errors import ExchangeError
from foreshock.exchange.options import read_mapping
from foreshock.server.alerts.life import Transition
from foreshock.server.detection.user_rules import RuleBook, load_rules
from foreshock.server.errors import ServerError
from foreshock.server.replay.judging import replay_trace
from foreshock.server.replay.timeline import as_dict, print_timeline
from foreshock.server.replay.traces import Trace, open_trace


def trial_command(
    file: Path, on: Path, renamed: Sequence[str], total_steps: int | None, kind: str | None, *, as_json: bool
) -> int:
    """The exit status: 0, or 2 where file or trace cannot be read."""
    try:
        book = load_rules(file)
        trace = open_trace(on, read_mapping(renamed), kind)
        context = replace(trace.context, total_steps=total_steps or trace.total_steps)
        console = Console(stderr=True)
        with console.status(f"judging {on.name}"):
            told = list(replay_trace(trace, context, book.rules))
    except (ExchangeError, ServerError) as error:
        print(f"foreshock rules test: {error}", file=sys.stderr)
        return 2
    counts = _counts(book, told)
    missing = _missing(book, trace)
    if as_json:
        transitions = [as_dict(one) for one in told]
        print(json.dumps({"transitions": transitions, "rules": counts, "missing": missing}))
        return 0
    print_timeline(trace, told)
    for one in counts:
        print(f"{one['rule']}: {_words(one)}")
    for warning in trace.warnings:
        print(f"foreshock rules test: {on}: {warning}", file=sys.stderr)
    for name, series in missing.items():
        print(
            f"foreshock rules test: {on} has no {' and no '.join(series)}: {name} saw nothing",
            file=sys.stderr,
        )
    return 0


def _counts(book: RuleBook, told: Sequence[Transition]) -> list[dict[str, Any]]:
    """Of each rule that the book judges by, how often it was in which state, and when it first fired."""
    counted = Counter((one.rule, one.state) for one in told)
    first: dict[str, int] = {}
    for one in told:
        if one.state == "firing":
            first.setdefault(one.rule, one.step)
    return [
        {
            "rule": rule.name,
            **{state: counted[rule.name, state] for state in ("pending", "firing", "resolved")},
            "first_firing_step": first.get(rule.name),
        }
        for rule in book.rules
    ]


def _missing(book: RuleBook, trace: Trace) -> dict[str, list[str]]:
    """Of each own rule, the series that the trace does not have."""
    wanted = {
        rule.name: [series for series in (rule.quantity.series, rule.quantity.over) if series is not None]
        for rule in book.own
    }
    absent = {name: [one for one in series if one not in trace.series] for name, series in wanted.items()}
    return {name: series for name, series in absent.items() if series}


def _words(one: dict[str, Any]) -> str:
    if one["firing"]:
        times = "once" if one["firing"] == 1 else f"{one['firing']} times"
        return f"fired {times}, first at step {one['first_firing_step']}"
    return f"pending {one['pending']} times, never fired" if one["pending"] else "never pending, never fired"

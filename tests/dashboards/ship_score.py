"""`make score DIR=.. TITLE=..`: scores recorded runs and slims what comes out to what the pages show.

Reads the JSON of `foreshock scenarios score --json` from standard input, writes it with its title and date
to the file named first. Curves keep at most 150 points, numbers four significant
digits.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from foreshock.dashboards.benchmark.froc import best_so_far

MAX_POINTS = 150
CURVES = ("alarm_time", "miss_rate", "chance_alarm_time", "chance_miss_rate")
# Long, and shown by no page
LEFT_OUT = ("attribution", "exogenous", "structural", "threshold", "unpublished", "num_runs_heard")


def slim(score: dict[str, Any]) -> dict[str, Any]:
    """The same score with thinner curves, and without what is about the machine that it was made on."""
    watchers = {name: _watcher(each) for name, each in score["watchers"].items() if each["num_runs_heard"]}
    kept = {key: value for key, value in score.items() if key not in ("directory", "variations")}
    slimmed: dict[str, Any] = _rounded({**kept, "watchers": watchers})
    return slimmed


def _watcher(each: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in each.items() if key not in LEFT_OUT}
    kept["budgets"] = {key: {"recall": at["recall"]} for key, at in each["budgets"].items()}
    kept["molchan_by_schedule"] = each["molchan_by_schedule"] and {
        "skill": each["molchan_by_schedule"]["skill"]
    }
    if each["froc"] is not None:
        points = best_so_far(each["froc"]["false_per_1000"], each["froc"]["recall"])
        kept["froc"] = {"false_per_1000": [x for x, _ in points], "recall": [y for _, y in points]}
    if each["molchan"] is not None:
        kept["molchan"] = {part: _thinned(each["molchan"][part]) for part in CURVES}
        kept["molchan"]["skill"] = each["molchan"]["skill"]
    return kept


def _thinned(values: list[float]) -> list[float]:
    if len(values) <= MAX_POINTS:
        return values
    return [values[round(at * (len(values) - 1) / (MAX_POINTS - 1))] for at in range(MAX_POINTS)]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    told = {"title": sys.argv[2], "date": time.strftime("%Y-%m-%d"), **slim(json.load(sys.stdin))}
    Path(sys.argv[1]).write_text(json.dumps(told, separators=(",", ":")) + "\n", encoding="utf-8")

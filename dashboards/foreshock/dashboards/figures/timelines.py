"""The alert timelines of several runs, one above the other."""

from collections.abc import Mapping, Sequence
from typing import Any

from foreshock.dashboards.figures.frame import Drawing, Figure, Table, Trace, axis, step_axis
from foreshock.dashboards.figures.marks import marked_step, rule_words, severity_colour, severity_symbol
from foreshock.dashboards.figures.numbers import plain, wrapped
from foreshock.dashboards.figures.palette import role
from foreshock.wire.readings import AlertMark

MAX_RUNS = 60
MAX_ALERTS_PER_RUN = 50
_CONTACT = "heartbeat_lost"
_ALIKE = 0.95
_ORDER = {"info": 0, "warning": 1, "critical": 2}


def timelines(runs: Mapping[str, Sequence[AlertMark]], last_steps: Mapping[str, int] | None = None) -> Figure:
    """Each run a row, as long as it trained; each alert a mark where it fired, with a bar while it stood."""
    drawing = Drawing("Alert timelines", "No runs to compare yet.")
    names = list(runs)[:MAX_RUNS]
    ends = _ends(runs, last_steps or {})
    if names:
        drawing.traces.append(_tracks(names, ends))
    for severity in _ORDER:
        drawing.traces += _severity(names, runs, ends, severity)
    drawing.annotations += _names(names)
    drawing.table = _table(names, runs)
    if names:
        drawing.reading = _alerts_told(names, runs) + _lengths_told(names, last_steps or {})
    return drawing.figure(
        hovermode="closest",
        height=100 + 38 * len(names),
        margin={"l": 12, "r": 14, "t": 30, "b": 42},
        xaxis=step_axis(rangemode="tozero"),
        yaxis=_rows(names),
    )


def _rows(names: list[str]) -> dict[str, Any]:
    return axis(fixedrange=True, visible=False, range=[len(names) - 0.5, -0.75])


def _names(names: list[str]) -> list[dict[str, Any]]:
    """Each run's name above its row, where even a narrow screen has room for it."""
    return [
        {
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": row,
            "yref": "y",
            "yanchor": "bottom",
            "yshift": 6,
            "showarrow": False,
            "text": plain(name, 44),
            "font": {"size": 11.5, "color": role("ink")},
        }
        for row, name in enumerate(names)
    ]


def _ends(runs: Mapping[str, Sequence[AlertMark]], last_steps: Mapping[str, int]) -> dict[str, int]:
    seen = {
        name: max((alert.resolved_step or marked_step(alert) for alert in alerts), default=0)
        for name, alerts in runs.items()
    }
    return {name: max(last_steps.get(name, 0), end) for name, end in seen.items()}


def _tracks(names: list[str], ends: Mapping[str, int]) -> Trace:
    x: list[int | None] = []
    y: list[int | None] = []
    for row, name in enumerate(names):
        x += [0, ends[name], None]
        y += [row, row, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "trained",
        "x": x,
        "y": y,
        "hoverinfo": "skip",
        "showlegend": False,
        "line": {"color": role("axis"), "width": 2},
    }


def _severity(
    names: list[str], runs: Mapping[str, Sequence[AlertMark]], ends: Mapping[str, int], severity: str
) -> list[Trace]:
    marks = [
        (row, name, alert)
        for row, name in enumerate(names)
        for alert in list(runs[name])[:MAX_ALERTS_PER_RUN]
        if (alert.severity if alert.severity in _ORDER else "info") == severity
    ]
    if not marks:
        return []
    bars_x: list[int | None] = []
    bars_y: list[int | None] = []
    for row, name, alert in marks:
        end = ends[name] if alert.resolved_step is None else alert.resolved_step
        bars_x += [marked_step(alert), max(end, marked_step(alert)), None]
        bars_y += [row, row, None]
    colour = severity_colour(severity)
    bar = {"color": colour, "width": 5 if severity == "critical" else 3}
    common = {"type": "scatter", "legendgroup": severity}
    return [
        {
            **common,
            "mode": "lines",
            "x": bars_x,
            "y": bars_y,
            "opacity": 0.45,
            "line": bar,
            "hoverinfo": "skip",
            "showlegend": False,
        },
        {
            **common,
            "mode": "markers",
            "name": severity,
            "x": [marked_step(alert) for _, _, alert in marks],
            "y": [row for row, _, _ in marks],
            "text": [_hover(name, alert) for _, name, alert in marks],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {
                "size": 12,
                "symbol": severity_symbol(severity),
                "color": colour,
                "line": {"width": 1.5, "color": role("surface")},
            },
        },
    ]


def _hover(name: str, alert: AlertMark) -> str:
    head = f"<b>{rule_words(alert.rule)}</b> at step {marked_step(alert):,}"
    return f"{head}<br>{plain(name)}<br>{wrapped(alert.reason)}"


def _table(names: list[str], runs: Mapping[str, Sequence[AlertMark]]) -> Table:
    rows = tuple(
        (name, f"{marked_step(alert):,}", alert.severity, alert.rule, alert.state)
        for name in names
        for alert in runs[name]
    )
    return Table(("run", "step", "severity", "rule", "state"), rows[:200])


def _alerts_told(names: list[str], runs: Mapping[str, Sequence[AlertMark]]) -> str:
    """Contact is counted apart: a silent machine says nothing of how stable its training was."""
    critical = [{alert.rule for alert in runs[name] if alert.severity == "critical"} for name in names]
    num_warned = sum(bool(rules - {_CONTACT}) for rules in critical)
    num_silent = sum(any(alert.rule == _CONTACT for alert in runs[name]) for name in names)
    told = f"{num_warned} of {len(names)} runs had a critical stability alert"
    return f"{told}; contact was lost with {num_silent}." if num_silent else f"{told}."


def _lengths_told(names: list[str], last_steps: Mapping[str, int]) -> str:
    """Runs that did not train equally long are not compared at the same point, so it is said."""
    lengths = [last_steps[name] + 1 for name in names if name in last_steps]
    longest = max(lengths, default=0)
    num_shorter = sum(length < _ALIKE * longest for length in lengths)
    if not num_shorter:
        return ""
    span = f"{min(lengths):,} to {longest:,} steps"
    return f" Lengths differ, {span}; {num_shorter} of {len(lengths)} are shorter than the longest."

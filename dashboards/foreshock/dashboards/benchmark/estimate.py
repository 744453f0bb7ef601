"""Estimates in words, and the colours of those who are estimated."""

from collections.abc import Mapping
from typing import Any

from foreshock.dashboards.benchmark.evaluation import SCHEDULE_ONLY, Evaluation
from foreshock.dashboards.figures.frame import Trace
from foreshock.dashboards.figures.numbers import plain
from foreshock.dashboards.figures.palette import role


def told(estimate: Mapping[str, Any] | None, style: str = ".2g") -> str:
    """`0.73 [0.62, 0.83]` with its 95 % interval, `0.73` without one, or a dash."""
    if estimate is None or estimate["value"] is None:
        return "\N{EN DASH}"
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['value']:{style}}"
    return f"{estimate['value']:{style}} [{estimate['low']:{style}}, {estimate['high']:{style}}]"


def curve(evaluation: Evaluation, name: str, xs: list[float], ys: list[float], shape: str) -> Trace:
    """One watcher's line; the judged one and the clock stand out from the rest."""
    colour, width = _look(evaluation, name)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plain(name),
        "legendgroup": plain(name),
        "x": xs,
        "y": ys,
        "line": {"color": role(colour), "width": width, "shape": shape},
        "hovertemplate": f"{plain(name)}<br>%{{x:.3g}}, %{{y:.2f}}<extra></extra>",
        "showlegend": width > 1.5,
    }


def point(evaluation: Evaluation, name: str, x: float, y: float) -> Trace:
    """What a watcher publishes, as a mark on the curve."""
    colour, width = _look(evaluation, name)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{plain(name)}, as published",
        "legendgroup": plain(name),
        "showlegend": False,
        "x": [x],
        "y": [y],
        "marker": {"color": role(colour), "size": 11 if width > 1.5 else 7, "symbol": "diamond"},
        "hovertemplate": f"{plain(name)}, as published<br>%{{x:.3g}}, %{{y:.2f}}<extra></extra>",
    }


def _look(evaluation: Evaluation, name: str) -> tuple[str, float]:
    if name == evaluation.judged:
        return "series-1", 3.0
    return ("series-2", 2.0) if name == SCHEDULE_ONLY else ("series-6-faint", 1.25)

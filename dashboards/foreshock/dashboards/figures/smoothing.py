"""Smoothing that hides nothing: a moving average over the raw line, which stays with its extremes."""

import math
import re
from collections.abc import Iterator, Sequence

from foreshock.dashboards.figures.frame import Figure, Trace
from foreshock.dashboards.figures.palette import role

_SERIES = re.compile(r"var\(--(series-\d)\)")


def smoothed(figure: Figure, half_life: float) -> Figure:
    """Over each line the exponential moving average whose weights halve every `half_life` buckets.

    On a log axis logarithms are averaged. A gap stays a gap.
    """
    layout = figure["layout"]
    traces: list[Trace] = []
    averages: list[Trace] = []
    for trace in figure["data"]:
        name = _role_of(trace)
        if name is None:
            traces.append(trace)
            continue
        axis = layout[trace.get("yaxis", "y").replace("y", "yaxis", 1)]
        values = moving_average(trace["y"], half_life, log=axis.get("type") == "log")
        faint = trace["line"] | {"color": role(f"{name}-faint"), "width": 1}
        traces.append(trace | {"line": faint, "showlegend": False})
        averages.append(
            {key: value for key, value in trace.items() if key not in ("customdata", "meta", "marker")}
            | {"y": values, "mode": "lines", "hovertemplate": "%{y:.4g}, smoothed"}
        )
    return {"data": [*traces, *averages], "layout": layout}


def _role_of(trace: Trace) -> str | None:
    """The role of a line's colour; None where the trace is no line of values."""
    if "lines" not in trace.get("mode", "") or "fill" in trace:
        return None
    found = _SERIES.fullmatch(trace.get("line", {}).get("color", ""))
    return None if found is None else found[1]


def moving_average(
    values: Sequence[float | None], half_life: float, *, log: bool = False
) -> list[float | None]:
    """The average of all values so far, each step back weighing less; None where there is no value."""
    return [
        None if value is None else float(f"{value:.6g}") for value in _averages(values, half_life, log=log)
    ]


def _averages(values: Sequence[float | None], half_life: float, *, log: bool) -> Iterator[float | None]:
    keep = 0.5 ** (1.0 / half_life)
    total = weight = 0.0
    for value in values:
        if value is None or (log and value <= 0):
            yield None
            continue
        total = keep * total + (math.log(value) if log else value)
        weight = keep * weight + 1.0
        yield math.exp(total / weight) if log else total / weight

"""The difference of two groups of seeds, with its interval: does one really run higher than the other?"""

import numpy as np

from foreshock.dashboards.figures.frame import (
    Drawing,
    Figure,
    Table,
    Trace,
    mark_axis,
    step_axis,
    thin,
    value_axis,
)
from foreshock.dashboards.figures.line import Style, line, lone_points, outline
from foreshock.dashboards.figures.marks import threshold
from foreshock.dashboards.figures.numbers import gain, plain, positive, steps, words
from foreshock.dashboards.figures.palette import role
from foreshock.dashboards.figures.scale import log_axis
from foreshock.wire import UnknownSignalError, parse_column
from foreshock.wire.readings import FloatArray, GroupDifference


def difference(found: GroupDifference | None, column: str) -> Figure:
    """One group's mean minus the other's, or over it for a log signal, with Welch's 95 % interval."""
    drawing = Drawing(f"Difference: {plain(column)}", "Two groups with this series are needed to compare.")
    if found is None or not np.isfinite(found.middle).any():
        return drawing.figure(xaxis=step_axis(), yaxis=value_axis(""), yaxis9=mark_axis(), showlegend=False)
    log = found.scale == "ratio"
    shown = positive if log else np.asarray
    x, y = outline(found.first_step.astype(np.float64), shown(found.low), shown(found.high))
    groups = f"{plain(found.of, 30)} {'over' if log else 'minus'} {plain(found.against, 30)}"
    drawing.title = f"{groups}: {plain(column)}"
    drawing.traces += [_interval(x, y)] if x else []
    name = "ratio of geometric means" if log else "difference of means"
    means = line(steps(found.first_step), found.middle, name, Style(width=2.25), log=log)
    drawing.traces.append(lone_points(means))
    drawing.shapes.append(threshold(_none(found), colour="axis"))
    drawing.table = _table(found)
    drawing.reading = _reading(found, _unit(column))
    values = [found.low, found.high, found.middle]
    yaxis = log_axis("ratio", values, 0.8, 1.25) if log else value_axis(_unit(column))
    return drawing.figure(xaxis=step_axis(), yaxis=yaxis, yaxis9=mark_axis())


def _none(found: GroupDifference) -> float:
    """The value that means no difference."""
    return 1.0 if found.scale == "ratio" else 0.0


def _interval(x: list[float | None], y: list[float | None]) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "95 % interval",
        "x": x,
        "y": y,
        "fill": "toself",
        "fillcolor": role("series-1-band"),
        "line": {"width": 0},
        "hoverinfo": "skip",
    }


def _unit(column: str) -> str:
    try:
        signal = parse_column(column).signal
    except UnknownSignalError:
        return ""
    return "" if signal is None or signal.unit in ("1", "ratio") else signal.unit


def _said(found: GroupDifference, value: float, unit: str = "") -> str:
    text = gain(value) if found.scale == "ratio" else words(value)
    return f"{text} {unit}" if unit and found.scale != "ratio" else text


def _reading(found: GroupDifference, unit: str) -> str:
    at = int(np.flatnonzero(np.isfinite(found.middle))[-1])
    way = "over" if found.scale == "ratio" else "minus"
    told = f"{found.of} {way} {found.against}: {_said(found, float(found.middle[at]), unit)}"
    told += f" at step {int(found.first_step[at]):,}"
    seeds = f"{int(found.num_of[at])} against {int(found.num_against[at])} seeds"
    if not (np.isfinite(found.low[at]) and np.isfinite(found.high[at])):
        return f"{told}; no interval, of {seeds}."
    low, high = float(found.low[at]), float(found.high[at])
    told += f", Welch's 95 % interval {_said(found, low)} to {_said(found, high)}"
    told += f", each bucket by itself, {seeds}"
    since = _apart_since(found)
    if since is None:
        return f"{told}: no difference is shown."
    return f"{told}: apart since step {int(found.first_step[since]):,}."


def _apart_since(found: GroupDifference) -> int | None:
    """Where the last unbroken stretch begins in which the interval leaves out what means no difference."""
    apart: FloatArray = np.where((found.low > _none(found)) | (found.high < _none(found)), 1.0, 0.0)
    known = np.flatnonzero(np.isfinite(found.low) & np.isfinite(found.high))
    if not len(known) or not apart[known[-1]]:
        return None
    together = known[apart[known] == 0]
    later = known[known > together[-1]] if len(together) else known
    return int(later[0])


def _table(found: GroupDifference) -> Table:
    rows = []
    for at, step in enumerate(found.first_step.tolist()):
        values = (words(float(one[at])) for one in (found.middle, found.low, found.high))
        rows.append((f"{int(step):,}", *values, f"{found.num_of[at]} against {found.num_against[at]}"))
    return Table(("step", found.scale, "low", "high", "seeds"), thin(rows))

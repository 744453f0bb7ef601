"""A series as a line: the mean of each bucket, and an envelope that keeps every spike."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock.dashboards.figures.frame import Table, Trace, thin
from foreshock.dashboards.figures.numbers import finite, positive, steps, words
from foreshock.dashboards.figures.palette import role
from foreshock.wire.readings import FloatArray, SeriesBuckets


@dataclass(frozen=True, slots=True)
class Style:
    """How a line looks: the role of its colour, dash and width."""

    colour: str = "series-1"
    dash: str = "solid"
    width: float = 1.75


def line(
    x: list[int],
    values: FloatArray,
    name: str,
    style: Style | None = None,
    *,
    log: bool = False,
    yaxis: str = "y",
) -> Trace:
    """One line; it breaks where a value is not finite."""
    style = style or Style()
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": finite(positive(values) if log else values),
        "yaxis": yaxis,
        "connectgaps": False,
        "line": {"color": role(style.colour), "width": style.width, "dash": style.dash},
        "hovertemplate": "%{y:.4g}",
    }


def of_layers(layers: list[int]) -> Trace:
    """What a line of some layer's values has besides: which layer each point is of."""
    return {
        "customdata": layers,
        "hovertemplate": "%{y:.4g}, layer %{customdata}",
        "meta": {"layer": "customdata"},
    }


def lone_points(trace: Trace) -> Trace:
    """The same line with dots where it is so short, or so broken, that a line alone would not show."""
    shown = [value is not None for value in trace["y"]]
    pairs = any(left and right for left, right in itertools.pairwise(shown))
    return trace if pairs else trace | {"mode": "lines+markers", "marker": {"size": 6}}


def envelope(buckets: SeriesBuckets, style: Style, *, log: bool = False, yaxis: str = "y") -> list[Trace]:
    """The area between the extremes of each bucket, where buckets hold more than one step."""
    low, high = finite_extremes(buckets, log=log)
    if buckets.bucket_width <= 1 or not np.isfinite(high).any():
        return []
    x, y = outline(buckets.first_step.astype(np.float64), low, high)
    edge = {"color": role(f"{style.colour}-faint"), "width": 0.75}
    return [area(x, y, style.colour, yaxis) | {"line": edge}]


def area(x: list[float | None], y: list[float | None], colour: str, yaxis: str) -> Trace:
    """The wash within an outline, without an edge, a legend or a word on hover."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "min to max",
        "x": x,
        "y": y,
        "yaxis": yaxis,
        "fill": "toself",
        "fillcolor": role(f"{colour}-band"),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def finite_extremes(buckets: SeriesBuckets, *, log: bool = False) -> tuple[FloatArray, FloatArray]:
    """Minimum and maximum of each bucket with infinities replaced by the bucket's finite mean."""
    low = np.where(np.isfinite(buckets.minimum), buckets.minimum, buckets.mean)
    high = np.where(np.isfinite(buckets.maximum), buckets.maximum, buckets.mean)
    if log:
        return positive(np.where(low > 0, low, buckets.mean)), positive(high)
    return low, high


def outline(
    x: FloatArray, low: FloatArray, high: FloatArray
) -> tuple[list[float | None], list[float | None]]:
    """The outline of a band: one closed polygon for each unbroken stretch, parted by None."""
    points_x: list[float | None] = []
    points_y: list[float | None] = []
    for part in stretches(np.isfinite(low) & np.isfinite(high)):
        if points_x:
            points_x.append(None)
            points_y.append(None)
        there, up, down = x[part].tolist(), finite(high[part]), finite(low[part])
        points_x += [*there, *reversed(there)]
        points_y += [*up, *reversed(down)]
    return points_x, points_y


def stretches(where: NDArray[np.bool_]) -> Iterator[slice]:
    """The unbroken stretches of True, as slices."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], where, [False])).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2).tolist():
        yield slice(start, stop)


def series_table(series: list[SeriesBuckets], names: list[str]) -> Table:
    """The last value of each bucket, as text, thinned to what a person reads."""
    if not series:
        return Table()
    at = {int(step): row for row, step in enumerate(series[0].first_step.tolist())}
    rows = [(f"{step:,}", *(_value_at(one, step, row) for one in series)) for step, row in at.items()]
    return Table(("step", *names), thin(rows))


def _value_at(one: SeriesBuckets, step: int, row: int) -> str:
    same = row < len(one.first_step) and int(one.first_step[row]) == step
    index = row if same else int(np.searchsorted(one.first_step, step))
    found = index < len(one.first_step) and int(one.first_step[index]) == step
    return words(float(one.last[index])) if found else ""


def last_finite(buckets: SeriesBuckets) -> tuple[int, float] | None:
    """The last bucket that has a finite mean, with its last step."""
    where = np.flatnonzero(np.isfinite(buckets.mean))
    if not len(where):
        return None
    at = int(where[-1])
    value = buckets.last[at] if np.isfinite(buckets.last[at]) else buckets.mean[at]
    return int(buckets.last_step[at]), float(value)


def x_of(buckets: SeriesBuckets) -> list[int]:
    """Where the buckets stand on the axis of steps."""
    return steps(buckets.first_step)

"""Every value axis of a finished figure on a linear or on a logarithmic scale."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foreshock.dashboards.figures.frame import Figure, Shape, Trace
from foreshock.dashboards.figures.scale import label, log_range, ticks

_MARKS = "y9"
_OF_LOG = ("type", "dtick", "tickmode", "tickvals", "ticktext", "range", "rangemode")


def rescaled(figure: Figure, *, log: bool) -> Figure:
    """The figure with all value axes on that scale; an axis with nothing above 0 stays linear."""
    axes = {
        key.replace("axis", ""): axis
        for key, axis in figure["layout"].items()
        if key.startswith("yaxis") and key != "yaxis9"
    }
    changed: dict[str, dict[str, Any]] = {}
    for name, axis in axes.items():
        # Where the ends of an axis mean something, as of a share, they stay
        if log == (axis.get("type") == "log") or axis.get("autorange") is False:
            continue
        new = _as_log(axis, figure["data"], name) if log else _as_linear(axis)
        if new is not None:
            changed[name] = new
    if not changed:
        return figure
    layout = figure["layout"] | {name.replace("y", "yaxis", 1): axis for name, axis in changed.items()}
    layout["shapes"] = [new for shape in layout["shapes"] if (new := _shape(shape, changed)) is not None]
    layout["annotations"] = [
        new for note in layout["annotations"] if (new := _annotation(note, changed, log=log)) is not None
    ]
    return {"data": [_trace(trace, changed) for trace in figure["data"]], "layout": layout}


def _as_log(axis: Mapping[str, Any], traces: Sequence[Trace], name: str) -> dict[str, Any] | None:
    values = [
        np.asarray([value for value in trace.get("y") or () if value is not None], np.float64)
        for trace in traces
        if trace.get("yaxis", "y") == name
    ]
    if not any((one > 0).any() for one in values):
        return None
    bottom, top = log_range(values, math.inf, -math.inf)
    places = ticks(bottom, top)
    kept = {key: value for key, value in axis.items() if key not in _OF_LOG}
    labels = {"tickmode": "array", "tickvals": places, "ticktext": [label(place) for place in places]}
    return kept | {"type": "log", "range": [bottom, top]} | labels


def _as_linear(axis: Mapping[str, Any]) -> dict[str, Any]:
    bottom, top = (10.0**end for end in axis["range"])
    kept = {key: value for key, value in axis.items() if key not in _OF_LOG}
    return kept | {"range": [0.0 if bottom < 0.3 * top else bottom, top]}


def _floor(axis: Mapping[str, Any]) -> float | None:
    """The lowest value that the axis shows; None where it is linear and shows any."""
    return 10.0 ** axis["range"][0] if axis.get("type") == "log" else None


def _trace(trace: Trace, changed: Mapping[str, dict[str, Any]]) -> Trace:
    axis = changed.get(trace.get("yaxis", "y"))
    floor = None if axis is None else _floor(axis)
    if floor is None:
        return trace
    # An area is closed along the bottom, a line breaks
    below = floor if trace.get("fill") else None
    return trace | {"y": [value if value is None or value > 0 else below for value in trace["y"]]}


def _shape(shape: Shape, changed: Mapping[str, dict[str, Any]]) -> Shape | None:
    axis = changed.get(shape.get("yref", ""))
    floor = None if axis is None else _floor(axis)
    if floor is None:
        return shape
    if max(shape["y0"], shape["y1"]) <= 0:
        return None
    return shape | {end: max(shape[end], floor) for end in ("y0", "y1")}


def _annotation(
    note: Mapping[str, Any], changed: Mapping[str, dict[str, Any]], *, log: bool
) -> dict[str, Any] | None:
    """On a log axis plotly takes an annotation's height as its logarithm."""
    if note.get("yref") not in changed:
        return dict(note)
    if not log:
        return dict(note) | {"y": 10.0 ** note["y"]}
    return dict(note) | {"y": math.log10(note["y"])} if note["y"] > 0 else None

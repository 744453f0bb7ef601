"""The phase picture: gain against loss, a trajectory whose colour is the step."""

from typing import Any, Final

import numpy as np

from foreshock.dashboards.figures.composite import worst_of
from foreshock.dashboards.figures.composite_depth import EXIT_THRESHOLD
from foreshock.dashboards.figures.frame import Drawing, Figure, Table, Trace, axis, bounded, mark_axis, thin
from foreshock.dashboards.figures.marks import healthy_band, threshold, threshold_label
from foreshock.dashboards.figures.numbers import finite, gain, words
from foreshock.dashboards.figures.palette import SEQUENTIAL, role
from foreshock.dashboards.figures.scale import log_axis
from foreshock.wire import CATALOGUE
from foreshock.wire.readings import FloatArray, RunReader, Window

SERIES: Final = ("composite_amax_forward_mean", "composite_amax_backward_mean", "layer_amax_forward_mean")
_NO_LOSS: Final = "No step has both a loss and a gain yet."
_CONVERGING: Final = 0.98
_GROWING: Final = 1.25


def gain_phase(reader: RunReader, window: Window) -> Figure:
    """Where the run travels: up is a growing gain, left a falling loss; up and left is the time bomb."""
    drawing = Drawing("Gain against loss", _NO_LOSS)
    points, values = np.zeros((3, 0)), np.zeros(0)
    for series in SERIES:
        points = _points(reader, series, window)
        if points.shape[1]:
            break
    if points.shape[1]:
        steps, losses, values = points
        drawing.traces += [_path(losses, values), _dots(steps, losses, values), _now(points)]
        drawing.annotations.append(
            threshold_label(f"exit threshold {EXIT_THRESHOLD:g}", float(np.log10(EXIT_THRESHOLD)))
        )
        drawing.reading = _reading(points)
        rows = [(f"{int(step):,}", words(loss), words(value)) for step, loss, value in points.T.tolist()]
        drawing.table = Table(("step", "loss", "gain"), thin(rows))
    drawing.shapes += [*healthy_band(CATALOGUE["composite_amax_forward"].healthy), threshold(EXIT_THRESHOLD)]
    x = axis("loss (nat)", showgrid=False, showline=True, ticks="outside", fixedrange=True, nticks=6)
    return drawing.figure(
        xaxis=x,
        yaxis=log_axis("worst gain", [values], 0.5, 16.0),
        yaxis9=mark_axis(),
        hovermode="closest",
        showlegend=False,
        dragmode=False,
    )


def _points(reader: RunReader, series: str, window: Window) -> FloatArray:
    """Step, loss and worst gain [3, k] wherever both are known: the newest loss at each gain."""
    found = reader.layer_map(series, bounded(window))
    losses = reader.series(("loss",), bounded(window))
    if found is None or not found.maximum.size or not losses or not len(losses[0].first_step):
        return np.zeros((3, 0))
    worst, loss = worst_of(found), losses[0]
    steps = np.asarray(worst.steps, np.float64)
    at = np.searchsorted(loss.first_step, steps, side="right") - 1
    points = np.stack([steps, np.where(at >= 0, loss.mean[np.maximum(at, 0)], np.nan), worst.values])
    return points[:, np.isfinite(points).all(axis=0) & (worst.values > 0)]


def _path(losses: FloatArray, values: FloatArray) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": finite(losses),
        "y": finite(values),
        "line": {"color": role("axis"), "width": 1},
        "hoverinfo": "skip",
    }


def _dots(steps: FloatArray, losses: FloatArray, values: FloatArray) -> Trace:
    # The pale end of the scale is the colour of the ground
    colours = [
        (place, colour) for place, (_, colour) in zip((0.0, 0.33, 0.67, 1.0), SEQUENTIAL[1:], strict=True)
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": finite(losses),
        "y": finite(values),
        "customdata": [int(step) for step in steps],
        "hovertemplate": "step %{customdata:,}<br>loss %{x:.4g}, gain <b>%{y:.4g}</b><extra></extra>",
        "marker": {"size": 6, "color": finite(steps), "colorscale": colours, "colorbar": _colorbar()},
    }


def _colorbar() -> dict[str, Any]:
    return {
        "thickness": 10,
        "outlinewidth": 0,
        "len": 1,
        "xpad": 8,
        "nticks": 5,
        "title": {"text": "step", "font": {"size": 11, "color": role("ink-2")}},
        "tickfont": {"size": 11, "color": role("ink-2")},
    }


def _now(points: FloatArray) -> Trace:
    step, loss, value = points[:, -1].tolist()
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [loss],
        "y": [value],
        "text": [f"now, step {int(step):,}"],
        "textposition": "top right",
        "textfont": {"size": 11, "color": role("ink")},
        "hoverinfo": "skip",
        "cliponaxis": False,
        "marker": {
            "size": 12,
            "symbol": "circle-open",
            "color": role("ink"),
            "line": {"width": 2, "color": role("ink")},
        },
    }


def _reading(points: FloatArray) -> str:
    steps, losses, values = points
    half = points.shape[1] // 2
    told = f"Gain {gain(float(values[-1]))} at loss {words(float(losses[-1]))}, step {int(steps[-1]):,}"
    is_growing = values[-1] > _GROWING * values[half]
    if is_growing and losses[-1] < _CONVERGING * losses[half]:
        return f"{told}: since step {int(steps[half]):,} the loss still falls while the gain grows."
    if is_growing:
        return f"{told}: since step {int(steps[half]):,} the gain grows and the loss no longer falls."
    return f"{told}."

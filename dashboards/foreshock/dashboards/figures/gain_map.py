"""The layer-by-step map: where in the depth, and since when, a per-layer series leaves its band."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreshock.dashboards.figures.frame import (
    MAX_COLUMNS,
    Drawing,
    Figure,
    Table,
    Trace,
    axis,
    bounded,
    mark_axis,
    step_axis,
)
from foreshock.dashboards.figures.marks import alert_lines, visible
from foreshock.dashboards.figures.numbers import finite, gain, over_tokens, plain, steps, words
from foreshock.dashboards.figures.palette import DIVERGING, SEQUENTIAL, role
from foreshock.dashboards.figures.scale import label, ticks
from foreshock.wire import Signal, parse_column
from foreshock.wire.readings import FloatArray, LayerMap, RunReader, Window

DEFAULT_SERIES = "layer_amax_forward_max"
# The colour range only takes these widths, so it stands still while a run grows
_LADDER = (2.0, 5.0, 10.0, 100.0, 1e3, 1e4, 1e6, 1e9, 1e15, 1e30)
_EMPTY = "No layer has reported this series yet."


@dataclass(frozen=True, slots=True)
class Scale:
    """How values become colours: by logarithm or not, with health in the middle or at one end.

    `low_is_worse` says that it lies at the upper end, as with an entropy or with room that is left.
    """

    log: bool
    centred: bool
    low_is_worse: bool = False

    @property
    def colours(self) -> list[tuple[float, str]]:
        """Plotly's colour scale; what is worst is darkest."""
        if self.centred:
            return DIVERGING
        if self.low_is_worse:
            return [(1.0 - place, colour) for place, colour in reversed(SEQUENTIAL)]
        return SEQUENTIAL

    def height(self, values: FloatArray) -> FloatArray:
        """The values on the scale's own axis."""
        if not self.log:
            return values
        with np.errstate(all="ignore"):
            return np.log10(np.maximum(values, 1e-30))

    def reach(self, heights: FloatArray) -> float:
        """Half the colour range, or all of it where it starts at 0: a rung of the ladder."""
        seen = np.abs(heights[np.isfinite(heights)])
        most = float(seen.max()) if seen.size else 0.0
        rungs = (
            np.log10(_LADDER) if self.log else np.asarray([0.01, 0.1, 0.5, 1, 2, 5, 10, 50, 100, 1e3, 1e6])
        )
        return float(rungs[min(int(np.searchsorted(rungs, most - 1e-9)), len(rungs) - 1)])


def scale_of(signal: Signal | None) -> Scale:
    """The scale that suits a signal: centred on its healthy value where the healthy band lies about one."""
    if signal is not None and signal.across_ranks == "min":
        return Scale(log=signal.log_scale, centred=False, low_is_worse=True)
    if signal is None or signal.healthy is None:
        return Scale(log=signal is not None and signal.log_scale, centred=False)
    if signal.log_scale and signal.healthy.low > 0:
        return Scale(log=True, centred=True)
    return Scale(log=False, centred=signal.healthy.low < 0 < signal.healthy.high)


def extreme(values: LayerMap, scale: Scale) -> FloatArray:
    """Of each bucket the value farthest from health, so that no spike is averaged away."""
    if not scale.centred:
        return values.minimum if scale.low_is_worse else values.maximum
    low, high = np.abs(scale.height(values.minimum)), np.abs(scale.height(values.maximum))
    return np.where(low > high, values.minimum, values.maximum)


def gain_map(reader: RunReader, window: Window, *, series: str = DEFAULT_SERIES) -> Figure:
    """Any per-layer series as a heat map of layers by steps; the worst layer is pointed at."""
    column = parse_column(series)
    signal = column.signal
    scale = scale_of(signal)
    drawing = Drawing(signal.description if signal else plain(series), _EMPTY)
    found = reader.layer_map(series, bounded(window, MAX_COLUMNS))
    layers = 0 if found is None else len(found.maximum)
    if found is not None and found.maximum.size:
        whole = reader.layer_map(series, Window(attempt=window.attempt, buckets=64)) or found
        reach = scale.reach(scale.height(extreme(whole, scale)))
        values = extreme(found, scale)
        drawing.traces.append(_heat(found, values, scale, reach))
        drawing.traces += _broken(found, values)
        _point_at_worst(drawing, found, values, scale, over_tokens(column.reduction))
        drawing.table = _table(found, values)
        drawing.shapes += [
            line | {"layer": "above"} for line in alert_lines(visible(reader.alerts(), window))
        ]
    return drawing.figure(
        hovermode="closest",
        showlegend=False,
        xaxis=step_axis(),
        yaxis=axis(
            "layer",
            fixedrange=True,
            showgrid=False,
            range=[-0.5, max(layers, 1) - 0.5],
            **_layer_ticks(layers),
        ),
        yaxis9=mark_axis(),
    )


def _layer_ticks(layers: int) -> dict[str, Any]:
    return {"tickmode": "linear", "tick0": 0, "dtick": max(1, -(-layers // 8))}


def _heat(found: LayerMap, values: FloatArray, scale: Scale, reach: float) -> Trace:
    heights = np.clip(scale.height(values), -reach, reach)
    reaches_below = scale.low_is_worse and bool((heights < 0).any())
    low = -reach if scale.centred or scale.log or reaches_below else 0.0
    return {
        "type": "heatmap",
        "x": steps(found.first_step),
        "y": list(range(len(values))),
        "z": [finite(row) for row in heights],
        "customdata": _told(found, values),
        "zmin": low,
        "zmax": reach,
        "colorscale": scale.colours,
        "hovertemplate": "step %{x:,}, layer %{y}<br><b>%{customdata}</b><extra></extra>",
        "hoverongaps": False,
        "xgap": 0,
        "ygap": 1 if len(values) <= 40 else 0,
        "colorbar": _colorbar(scale, low, reach),
    }


def _told(found: LayerMap, values: FloatArray) -> list[list[str]]:
    """Each cell in words; one that shows an earlier reading says of which step."""
    columns, first_step = np.arange(values.shape[1]), found.first_step
    since = first_step[np.maximum(columns - np.maximum(found.age, 0), 0)]
    return [
        [
            words(value) if age <= 0 else f"{words(value)}, as of step {step:,}"
            for value, age, step in zip(*row, strict=True)
        ]
        for row in zip(values.tolist(), found.age.tolist(), since.tolist(), strict=True)
    ]


def _colorbar(scale: Scale, low: float, reach: float) -> dict[str, Any]:
    if scale.log:
        values = ticks(low, reach)
        heights, labels = [math.log10(value) for value in values], [label(value) for value in values]
    else:
        heights = np.linspace(low, reach, 5).tolist()
        labels = [f"{height:.3g}" for height in heights]
    return {
        "thickness": 10,
        "outlinewidth": 0,
        "len": 1,
        "xpad": 8,
        "tickmode": "array",
        "tickvals": [round(height, 6) for height in heights],
        "ticktext": labels,
        "tickfont": {"size": 11, "color": role("ink-2")},
    }


def _broken(found: LayerMap, values: FloatArray) -> list[Trace]:
    """A second layer of cells, grey, where a value is not finite."""
    broken = ~np.isfinite(values) & (found.age >= 0)
    if not broken.any():
        return []
    grey = [[0.0, role("broken")], [1.0, role("broken")]]
    return [
        {
            "type": "heatmap",
            "name": "not finite",
            "x": steps(found.first_step),
            "y": list(range(len(values))),
            "z": [[1 if cell else None for cell in row] for row in broken.tolist()],
            "customdata": _told(found, values),
            "zmin": 0,
            "zmax": 1,
            "colorscale": grey,
            "showscale": False,
            "hoverongaps": False,
            "hovertemplate": "step %{x:,}, layer %{y}<br><b>%{customdata}</b><extra></extra>",
            "ygap": 1 if len(values) <= 40 else 0,
        }
    ]


def _distance(values: FloatArray, scale: Scale) -> FloatArray:
    heights = scale.height(values)
    if scale.centred:
        return np.abs(heights)
    return -heights if scale.low_is_worse else heights


def _point_at_worst(
    drawing: Drawing, found: LayerMap, values: FloatArray, scale: Scale, of_tokens: str
) -> None:
    """Marks the layer that is farthest from health in the last column that has finite values."""
    distance = np.where(np.isfinite(values), _distance(values, scale), -np.inf)
    columns = np.flatnonzero(np.isfinite(distance).any(axis=0))
    if not len(columns):
        drawing.reading = "No layer has a finite value in this window."
        return
    last = int(columns[-1])
    worst = int(distance[:, last].argmax())
    value, step = float(values[worst, last]), int(found.first_step[last])
    text = gain(value) if scale.centred and scale.log else words(value)
    is_broken = ~np.isfinite(values) & (found.age >= 0)
    broken = "; grey cells are not finite" if is_broken.any() else ""
    drawing.reading = f"Layer {worst} is farthest from health: {text}{of_tokens} at step {step:,}{broken}."
    drawing.shapes.append(_outline(worst))
    drawing.annotations.append(_name(worst))


def _outline(layer: int) -> dict[str, Any]:
    edge = {"color": role("ink"), "width": 1.25}
    sides = {"x0": 0, "x1": 1, "y0": layer - 0.5, "y1": layer + 0.5}
    return {"type": "rect", "xref": "paper", "yref": "y", "layer": "above", "line": edge, **sides}


def _name(layer: int) -> dict[str, Any]:
    """The worst layer's name at the left end of its row, where a run begins healthy."""
    return {
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": layer,
        "yref": "y",
        "showarrow": False,
        "text": f"worst: layer {layer}",
        "bgcolor": role("surface"),
        "borderpad": 2,
        "opacity": 0.92,
        "font": {"size": 11, "color": role("ink")},
    }


def _table(found: LayerMap, values: FloatArray) -> Table:
    rows = [(str(layer), words(float(row[-1])), *_peak(row, found)) for layer, row in enumerate(values)]
    return Table(("layer", "now", "peak", "at step"), tuple(rows))


def _peak(row: FloatArray, found: LayerMap) -> tuple[str, str]:
    where = np.flatnonzero(np.isfinite(row))
    if not len(where):
        return "", ""
    at = int(where[row[where].argmax()])
    return words(float(row[at])), f"{int(found.first_step[at]):,}"

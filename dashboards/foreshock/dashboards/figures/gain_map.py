"""The layer-by-step map: where in the depth, and since when, a per-layer series leaves its band."""

import math
from typing import Any

import numpy as np

from foreshock.dashboards.figures.colour_scale import Scale, extreme, scale_of
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
from foreshock.dashboards.figures.palette import role
from foreshock.dashboards.figures.scale import label, ticks
from foreshock.wire import Column, parse_column
from foreshock.wire.readings import FloatArray, LayerMap, RunReader, Window

DEFAULT_SERIES = "layer_amax_forward_max"
_EMPTY = "No layer has reported this series yet."


def gain_map(reader: RunReader, window: Window, *, series: str = DEFAULT_SERIES) -> Figure:
    """Any per-layer series as a heat map of layers by steps; the worst layer is pointed at."""
    column = parse_column(series)
    scale = scale_of(column)
    drawing = Drawing(column.signal.description if column.signal else plain(series), _EMPTY)
    found = reader.layer_map(series, bounded(window, MAX_COLUMNS))
    layers = 0 if found is None else len(found.maximum)
    if found is not None and found.maximum.size:
        values = extreme(found, scale)
        whole = (
            found if window.start is None and window.stop is None else _whole(reader, series, window) or found
        )
        drawing.traces.append(_heat(found, values, scale, scale.span(extreme(whole, scale)), column))
        drawing.traces += _broken(found, values)
        _point_at_worst(drawing, found, values, scale, column)
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


def _whole(reader: RunReader, series: str, window: Window) -> LayerMap | None:
    """All of the run, so that colours mean the same at every zoom."""
    return reader.layer_map(series, Window(attempt=window.attempt, buckets=64))


def _layer_ticks(layers: int) -> dict[str, Any]:
    return {"tickmode": "linear", "tick0": 0, "dtick": max(1, -(-layers // 8))}


def _heat(
    found: LayerMap, values: FloatArray, scale: Scale, span: tuple[float, float], column: Column
) -> Trace:
    heights = np.clip(scale.height(values), *span)
    return {
        "type": "heatmap",
        "x": steps(found.first_step),
        "y": list(range(len(values))),
        "z": [finite(row) for row in heights],
        "customdata": _told(found, values),
        "zmin": span[0],
        "zmax": span[1],
        "colorscale": scale.colours,
        "meta": {"layer": "y"},
        "hovertemplate": "step %{x:,}, layer %{y}<br><b>%{customdata}</b><extra></extra>",
        "hoverongaps": False,
        "xgap": 0,
        "ygap": 1 if len(values) <= 40 else 0,
        "colorbar": _colorbar(scale, *span) | _unit(column),
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


def _unit(column: Column) -> dict[str, Any]:
    if column.signal is None or column.signal.unit in ("1", "ratio"):
        return {}
    return {"title": {"text": column.signal.unit, "font": {"size": 11, "color": role("ink-2")}}}


def _colorbar(scale: Scale, low: float, high: float) -> dict[str, Any]:
    if scale.log:
        values = ticks(low, high)
        heights, labels = [math.log10(value) for value in values], [label(value) for value in values]
    else:
        heights = np.linspace(low, high, 5).tolist()
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
            "meta": {"layer": "y"},
            "hovertemplate": "step %{x:,}, layer %{y}<br><b>%{customdata}</b><extra></extra>",
            "ygap": 1 if len(values) <= 40 else 0,
        }
    ]


def _point_at_worst(
    drawing: Drawing, found: LayerMap, values: FloatArray, scale: Scale, column: Column
) -> None:
    """Marks the layer that is farthest from health in the last column that has finite values."""
    distance = np.where(np.isfinite(values), scale.distance(values), -np.inf)
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
    told = f"{text}{over_tokens(column.reduction)} at step {step:,}"
    is_judged = column.signal is not None and column.signal.healthy is not None
    place = "is farthest from health" if is_judged else f"is {'lowest' if scale.low_is_worse else 'highest'}"
    drawing.reading = f"Layer {worst} {place}: {told}{broken}."
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

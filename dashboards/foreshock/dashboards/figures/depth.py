"""A per-layer series as a profile over depth: now, and fainter at earlier steps."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from foreshock.dashboards.figures.frame import Drawing, Table, Trace, axis, mark_axis
from foreshock.dashboards.figures.numbers import finite, positive, words
from foreshock.dashboards.figures.palette import role
from foreshock.wire.readings import FloatArray, LayerMap

NUM_EARLIER = 4


def columns_to_show(found: LayerMap, num_earlier: int = NUM_EARLIER) -> list[int]:
    """The last column that has any value, preceded by some earlier ones, evenly spread."""
    filled = (
        np.flatnonzero(~np.isnan(found.mean).all(axis=0)) if found.mean.size else np.asarray([], dtype=int)
    )
    if not len(filled):
        return []
    picked = np.linspace(0, len(filled) - 1, min(len(filled), num_earlier + 1)).astype(int)
    return [int(filled[at]) for at in picked]


def profiles(found: LayerMap, name: str, colour: str) -> list[Trace]:
    """Lines over depth, one for each step shown, the newest strongest and alone in the legend."""
    columns = columns_to_show(found)
    traces: list[Trace] = []
    for age, column in enumerate(reversed(columns)):
        step = int(found.first_step[column])
        traces.append(_profile(found.mean[:, column], name, step, colour, age))
    return list(reversed(traces))


def _profile(values: FloatArray, name: str, step: int, colour: str, age: int) -> Trace:
    now = age == 0
    return {
        "type": "scatter",
        "mode": "lines+markers" if now or len(values) == 1 else "lines",
        "name": f"{name} now" if now else f"{name}, step {step:,}",
        "x": list(range(len(values))),
        "y": finite(positive(values)),
        "line": {"color": role(colour), "width": 2.25 if now else 1.25},
        "marker": {"size": 5},
        "opacity": 1.0 if now else max(0.18, 0.6 - 0.13 * age),
        "showlegend": now,
        "meta": {"layer": "x"},
        "hovertemplate": f"step {step:,}: %{{y:.4g}}<extra>{name}</extra>",
    }


def depth_table(newest: Mapping[str, FloatArray]) -> Table:
    """The newest profiles as a table, layer by layer; they may be of unequal depth."""
    layers = max((len(values) for values in newest.values()), default=0)
    rows = tuple(
        (str(layer), *(words(float(one[layer])) if layer < len(one) else "" for one in newest.values()))
        for layer in range(layers)
    )
    return Table(("layer", *newest), rows)


def edge_values(found: LayerMap, name: str) -> list[tuple[int, str]]:
    """Each (layer, text) whose newest value no axis can show."""
    columns = columns_to_show(found)
    if not columns:
        return []
    newest = found.mean[:, columns[-1]]
    broken = np.where(np.isfinite(newest), newest, found.maximum[:, columns[-1]])
    return [
        (int(layer), f"{name}: {words(float(broken[layer]))}")
        for layer in np.flatnonzero(~np.isfinite(newest))
    ]


def depth_layout(drawing: Drawing, layers: int, yaxis: dict[str, Any]) -> dict[str, Any]:
    """The layout of a profile: layers along the bottom, whole numbers only."""
    stride = max(1, -(-layers // 12))
    span = [-0.5, max(layers, 1) - 0.5]
    x = axis(
        "layer",
        range=span,
        dtick=stride,
        tick0=0,
        showgrid=False,
        showline=True,
        ticks="outside",
        fixedrange=True,
    )
    return drawing.figure(xaxis=x, yaxis=yaxis, yaxis9=mark_axis(), dragmode=False)

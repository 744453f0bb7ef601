"""The composite gain over depth: where along the network signal and gradient swell."""

import numpy as np

from foreshock.dashboards.figures.broken import edge_crosses
from foreshock.dashboards.figures.depth import (
    columns_to_show,
    depth_layout,
    depth_table,
    edge_values,
    profiles,
)
from foreshock.dashboards.figures.frame import Drawing, Figure, bounded
from foreshock.dashboards.figures.marks import healthy_band, threshold
from foreshock.dashboards.figures.numbers import gain
from foreshock.dashboards.figures.scale import log_axis
from foreshock.wire import CATALOGUE
from foreshock.wire.readings import LayerMap, RunReader, Window

EXIT_THRESHOLD = 10.0
_WAYS = (("forward", "series-1"), ("backward", "series-2"))


def composite_depth(reader: RunReader, window: Window) -> Figure:
    """Composite Amax gain at each depth, both ways, mean over tokens, now and at earlier steps."""
    drawing = Drawing("Composite gain over depth", "No composite gain has been measured yet.")
    maps: dict[str, LayerMap] = {}
    for way, colour in _WAYS:
        found = reader.layer_map(f"composite_amax_{way}_mean", bounded(window))
        if found is None or not columns_to_show(found):
            continue
        maps[way] = found
        drawing.traces += profiles(found, way, colour)
        edges = edge_values(found, way)
        if edges:
            drawing.traces.append(edge_crosses([layer for layer, _ in edges], [text for _, text in edges]))
    drawing.shapes += [*healthy_band(CATALOGUE["composite_amax_forward"].healthy), threshold(EXIT_THRESHOLD)]
    _tell(drawing, maps)
    layers = max((len(found.mean) for found in maps.values()), default=1)
    shown = [found.mean[:, columns_to_show(found)] for found in maps.values()]
    yaxis = log_axis("gain", shown, 0.5, 16.0)
    return depth_layout(drawing, layers, yaxis)


def _tell(drawing: Drawing, maps: dict[str, LayerMap]) -> None:
    if not maps:
        return
    newest = {way: found.mean[:, columns_to_show(found)[-1]] for way, found in maps.items()}
    parts = []
    for way, values in newest.items():
        finite = np.where(np.isfinite(values), values, -np.inf)
        broken = int((~np.isfinite(values)).sum())
        worst = int(finite.argmax())
        told = f"{way} {gain(float(values[worst]))} at layer {worst}"
        parts.append(told if not broken else f"{way} not finite at {broken} layers")
    drawing.reading = f"Largest now, mean over tokens: {', '.join(parts)}."
    drawing.table = depth_table(newest)

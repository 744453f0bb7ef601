"""The residual stream over depth: how large the signal itself has grown."""

import numpy as np

from foreshock.dashboards.figures.broken import edge_crosses
from foreshock.dashboards.figures.depth import columns_to_show, depth_layout, edge_values, profiles
from foreshock.dashboards.figures.frame import Drawing, Figure, Table, bounded
from foreshock.dashboards.figures.numbers import words
from foreshock.dashboards.figures.scale import log_axis
from foreshock.wire.readings import LayerMap, RunReader, Window

_SERIES = (("stream_rms", "RMS", "series-1"), ("stream_max", "largest", "series-2"))


def stream(reader: RunReader, window: Window) -> Figure:
    """RMS and largest magnitude of the stream that enters each layer, now and at earlier steps."""
    drawing = Drawing("Residual stream over depth", "No residual stream has been measured yet.")
    maps: dict[str, LayerMap] = {}
    for series, name, colour in _SERIES:
        found = reader.layer_map(series, bounded(window))
        if found is None or not columns_to_show(found):
            continue
        maps[name] = found
        drawing.traces += profiles(found, name, colour)
        edges = edge_values(found, name)
        if edges:
            drawing.traces.append(edge_crosses([layer for layer, _ in edges], [text for _, text in edges]))
    _tell(drawing, maps)
    shown = [found.mean[:, columns_to_show(found)] for found in maps.values()]
    layers = max((len(found.mean) for found in maps.values()), default=1)
    return depth_layout(drawing, layers, log_axis("magnitude", shown, 0.5, 20.0))


def _tell(drawing: Drawing, maps: dict[str, LayerMap]) -> None:
    if not maps:
        return
    newest = {name: found.mean[:, columns_to_show(found)[-1]] for name, found in maps.items()}
    layers = max(len(values) for values in newest.values())
    rows = tuple(
        (str(layer), *(words(float(values[layer])) for values in newest.values())) for layer in range(layers)
    )
    drawing.table = Table(("layer", *newest), rows)
    name, values = next(iter(newest.items()))
    finite = values[np.isfinite(values)]
    if finite.size:
        first, last = words(float(values[0])), words(float(values[-1]))
        drawing.reading = f"{name} from {first} at layer 0 to {last} at layer {len(values) - 1}."
    else:
        drawing.reading = f"{name} is not finite at any layer."

"""The layer-0 canary: layer 0's gain against the median and the worst layer, and the embedding beneath."""

from collections.abc import Mapping

import numpy as np

from foreshock.dashboards.figures.broken import kinds_of, kinds_of_values, mark_broken, told_since
from foreshock.dashboards.figures.frame import (
    Drawing,
    Figure,
    Table,
    bounded,
    mark_axis,
    step_axis,
    thin,
    value_axis,
)
from foreshock.dashboards.figures.line import Style, line, lone_points, x_of
from foreshock.dashboards.figures.marks import (
    alert_lines,
    healthy_band,
    visible,
)
from foreshock.dashboards.figures.numbers import gain, steps, words
from foreshock.dashboards.figures.scale import log_axis
from foreshock.wire import CATALOGUE
from foreshock.wire.readings import FloatArray, LayerMap, RunReader, Window

_SERIES = "layer_amax_forward_mean"


def canary(reader: RunReader, window: Window) -> Figure:
    """Layer 0's single-layer gain among all layers, over the RMS of the embedding's output."""
    drawing = Drawing("Layer-0 canary", "No layer gain has been measured yet.")
    found = reader.layer_map(_SERIES, bounded(window))
    gains: Mapping[str, FloatArray] = {}
    if found is not None and found.mean.size:
        gains = _draw_gains(drawing, found)
    for buckets in reader.series(("canary_embedding_rms",), bounded(window)):
        style = Style("series-4", width=1.75)
        drawing.traces.append(
            lone_points(line(x_of(buckets), buckets.mean, "embedding RMS", style, yaxis="y2"))
        )
        mark_broken(drawing, x_of(buckets), kinds_of(buckets), "embedding RMS", wash=False)
    drawing.shapes += healthy_band(CATALOGUE["layer_amax_forward"].healthy) + alert_lines(
        visible(reader.alerts(), window)
    )
    return drawing.figure(
        xaxis=step_axis(anchor="y2"),
        yaxis=log_axis("gain", list(gains.values()), 0.75, 1.6, domain=[0.36, 1], most_ticks=5),
        yaxis2=value_axis("emb. RMS", domain=[0, 0.26], nticks=3, rangemode="tozero"),
        yaxis9=mark_axis() | {"domain": [0.36, 1]},
    )


def _draw_gains(drawing: Drawing, found: LayerMap) -> Mapping[str, FloatArray]:
    gains = _three(found)
    styles = (Style("series-3", width=2.25), Style("series-6", "dash", 1.5), Style("series-2", "dot", 1.5))
    for (name, values), style in zip(gains.items(), styles, strict=True):
        drawing.traces.append(lone_points(line(steps(found.first_step), values, name, style, log=True)))
    mark_broken(drawing, steps(found.first_step), kinds_of_values(gains["layer 0"]), "layer 0")
    rows = [
        (f"{step:,}", *(words(float(values[at])) for values in gains.values()))
        for at, step in enumerate(steps(found.first_step))
    ]
    drawing.table = Table(("step", *gains), thin(rows))
    drawing.reading = _reading(found, gains)
    return gains


def _three(found: LayerMap) -> Mapping[str, FloatArray]:
    first = np.where(np.isposinf(found.maximum[0]), np.inf, found.mean[0])
    spread = np.where(np.isfinite(found.mean), found.mean, np.nan)
    some = ~np.isnan(spread).all(axis=0)
    median = np.full(len(first), np.nan)
    median[some] = np.nanmedian(spread[:, some], axis=0)
    # Unlike nanmax, silent where no layer's maximum is finite
    worst = np.fmax.reduce(np.where(np.isfinite(found.maximum), found.maximum, np.nan), axis=0)
    return {"layer 0": first, "median layer": median, "worst layer": worst}


def _reading(found: LayerMap, gains: Mapping[str, FloatArray]) -> str:
    first, median = gains["layer 0"], gains["median layer"]
    where = np.flatnonzero(np.isfinite(first) & np.isfinite(median))
    if not len(where):
        return "Layer 0 is not finite in this window."
    at = int(where[-1])
    band = CATALOGUE["layer_amax_forward"].healthy
    inside = band is not None and band.low <= first[at] <= band.high
    state = "inside its band" if inside else "out of its band (0.9 to 1.1)"
    broken = told_since(steps(found.first_step), kinds_of_values(first))
    return f"Layer 0 at {gain(float(first[at]))}, {state}; median layer {gain(float(median[at]))}{broken}."

"""The worst layer's composite gain over steps: the number the exit rule watches."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from foreshock.dashboards.figures.broken import kinds_of_values, mark_broken, told_since
from foreshock.dashboards.figures.composite_depth import EXIT_THRESHOLD
from foreshock.dashboards.figures.frame import (
    Drawing,
    Figure,
    Table,
    bounded,
    mark_axis,
    step_axis,
    thin,
)
from foreshock.dashboards.figures.line import Style, line, lone_points, of_layers
from foreshock.dashboards.figures.marks import (
    alert_lines,
    alert_markers,
    healthy_band,
    threshold,
    threshold_label,
    visible,
)
from foreshock.dashboards.figures.numbers import gain, steps, words
from foreshock.dashboards.figures.scale import log_axis
from foreshock.wire import CATALOGUE, Band
from foreshock.wire.readings import FloatArray, LayerMap, RunReader, Window

_LINES = (
    ("composite_amax_forward_mean", "forward, mean over tokens", Style("series-1", width=2.25)),
    ("composite_amax_forward_max", "forward, worst token", Style("series-1", "dot", 1.25)),
    ("composite_amax_backward_mean", "backward, mean over tokens", Style("series-2", width=2.25)),
    ("composite_amax_backward_max", "backward, worst token", Style("series-2", "dot", 1.25)),
)

_BAND: Final = CATALOGUE["composite_amax_forward"].healthy or Band(0.6, 1.6)


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst layer of each bucket: its value (NaN where none, Inf kept) and which layer it is."""

    series: str
    steps: list[int]
    values: FloatArray
    layers: list[int]


def worst_of(found: LayerMap) -> Worst:
    """Reduces a map to its worst layer, bucket by bucket: the largest, unless the smallest has vanished.

    A gain under the healthy band is worst where it is farther from 1 than the largest is; inside the band
    the largest is told, or the line would change sides at every step.
    """
    if not found.maximum.size:
        return Worst(found.series, steps(found.first_step), np.zeros(0), [])
    largest = np.where(np.isnan(found.maximum), -np.inf, found.maximum)
    smallest = np.where(np.isnan(found.minimum), np.inf, found.minimum)
    high, low = largest.max(axis=0), smallest.min(axis=0)
    with np.errstate(invalid="ignore"):
        has_vanished = (low < _BAND.low) & (low * high < 1)
    layers = np.where(has_vanished, smallest.argmin(axis=0), largest.argmax(axis=0))
    values = np.where(has_vanished, low, high)
    return Worst(
        found.series, steps(found.first_step), np.where(np.isneginf(values), np.nan, values), layers.tolist()
    )


def composite(reader: RunReader, window: Window) -> Figure:
    """Worst composite gain over layers, both ways, against the healthy band and the exit threshold."""
    drawing = Drawing("Composite gain over steps", "No composite gain has been measured yet.")
    worst: list[Worst] = []
    for series, name, style in _LINES:
        found = reader.layer_map(series, bounded(window))
        if found is None or not found.maximum.size:
            continue
        one = worst_of(found)
        worst.append(one)
        trace = lone_points(line(one.steps, one.values, name, style, log=True))
        drawing.traces.append(trace | of_layers(one.layers))
        mark_broken(drawing, one.steps, kinds_of_values(one.values), name, wash=len(worst) == 1)
    alerts = visible(reader.alerts(), window)
    drawing.shapes += [*healthy_band(CATALOGUE["composite_amax_forward"].healthy), threshold(EXIT_THRESHOLD)]
    drawing.shapes += alert_lines(alerts)
    if worst:
        drawing.traces += alert_markers(alerts)
        drawing.annotations.append(threshold_label("exit threshold 10", float(np.log10(EXIT_THRESHOLD))))
    _tell(drawing, worst)
    yaxis = log_axis("gain", [one.values for one in worst], 0.5, 16.0)
    return drawing.figure(xaxis=step_axis(), yaxis=yaxis, yaxis9=mark_axis())


def _tell(drawing: Drawing, worst: list[Worst]) -> None:
    if not worst:
        return
    rows = [
        (f"{step:,}", *(words(float(one.values[at])) if at < len(one.steps) else "" for one in worst))
        for at, step in enumerate(worst[0].steps)
    ]
    names = {series: name for series, name, _ in _LINES}
    drawing.table = Table(("step", *(names[one.series] for one in worst)), thin(rows))
    means = [one for one in worst if one.series.endswith("_mean") and np.isfinite(one.values).any()]
    if not means:
        drawing.reading = "Not finite in this window."
        return
    drawing.reading = _reading(means)


def _reading(means: list[Worst]) -> str:
    latest = {one.series: int(np.flatnonzero(np.isfinite(one.values))[-1]) for one in means}
    top = max(means, key=lambda one: _distance(float(one.values[latest[one.series]])))
    at = latest[top.series]
    way = "backward" if "backward" in top.series else "forward"
    value = gain(float(top.values[at]))
    text = f"Worst layer {top.layers[at]}, {way}: {value}, mean over tokens, at step {top.steps[at]:,}"
    since = _above_since(top)
    text += told_since(top.steps, kinds_of_values(top.values))
    return f"{text}; over {EXIT_THRESHOLD:g} since step {since:,}." if since is not None else f"{text}."


def _distance(value: float) -> float:
    """How far a gain is from 1; what is 0 or less has vanished."""
    return abs(float(np.log(value))) if value > 0 else np.inf


def _above_since(one: Worst) -> int | None:
    """The step from which the last unbroken stretch over the threshold runs; a NaN does not break it."""
    below = np.flatnonzero(one.values <= EXIT_THRESHOLD)
    above = np.flatnonzero(one.values > EXIT_THRESHOLD)
    later = above[above > below[-1]] if len(below) else above
    return one.steps[int(later[0])] if len(later) else None

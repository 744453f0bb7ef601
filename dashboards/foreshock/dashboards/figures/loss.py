"""The loss over steps, with every spike, every non-finite value and every alert on it."""

import numpy as np

from foreshock.dashboards.figures.broken import broken_since, kinds_of, mark_broken
from foreshock.dashboards.figures.frame import Drawing, Figure, bounded, mark_axis, step_axis, value_axis
from foreshock.dashboards.figures.line import (
    Style,
    envelope,
    last_finite,
    line,
    lone_points,
    series_table,
    x_of,
)
from foreshock.dashboards.figures.marks import (
    alert_labels,
    alert_lines,
    alert_markers,
    visible,
)
from foreshock.dashboards.figures.numbers import words
from foreshock.dashboards.figures.scale import log_axis
from foreshock.wire.readings import FloatArray, RunReader, SeriesBuckets, Window


def loss(reader: RunReader, window: Window, *, log_y: bool = False) -> Figure:
    """The loss, mean of each bucket with its extremes; alerts stand as vertical lines."""
    drawing = Drawing("Loss", "No loss has been logged yet.")
    alerts = visible(reader.alerts(), window)
    shown: list[FloatArray] = []
    for buckets in reader.series(("loss",), bounded(window)):
        shown += [buckets.minimum, buckets.maximum]
        drawing.traces += envelope(buckets, Style(), log=log_y)
        drawing.traces.append(lone_points(line(x_of(buckets), buckets.mean, "loss", log=log_y)))
        mark_broken(drawing, x_of(buckets), kinds_of(buckets), "loss")
        drawing.table = series_table([buckets], ["loss"])
        drawing.reading = _reading(buckets)
    if drawing.traces:
        drawing.traces += alert_markers(alerts)
    drawing.shapes += alert_lines(alerts)
    drawing.annotations += alert_labels(alerts)
    return drawing.figure(
        xaxis=step_axis(),
        yaxis=log_axis("nat", shown) if log_y else value_axis("nat"),
        yaxis9=mark_axis(),
        showlegend=False,
    )


def _reading(buckets: SeriesBuckets) -> str:
    kinds, latest = kinds_of(buckets), last_finite(buckets)
    since = broken_since(x_of(buckets), kinds)
    if latest is None:
        return f"{since[1]} since step {since[0]:,}." if since else "No loss has been logged yet."
    step, value = latest
    if since:
        return f"{since[1]} since step {since[0]:,}; {words(value)} was the last finite value."
    finite = np.where(np.isfinite(buckets.minimum), buckets.minimum, np.inf)
    lowest = int(finite.argmin())
    least = words(float(buckets.minimum[lowest]))
    return f"{words(value)} at step {step:,}; lowest {least} at step {int(buckets.first_step[lowest]):,}."

"""The loss over steps, with every spike, every non-finite value, every alert on it, and the risk beneath."""

from typing import Final

import numpy as np

from foreshock.dashboards.figures.alert_bands import alert_bands
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
from foreshock.dashboards.figures.risk import risk_lines, risk_of, risk_told
from foreshock.wire.readings import RunReader, SeriesBuckets, Window

# With the risk beneath
_HEIGHT: Final = 340


def loss(reader: RunReader, window: Window) -> Figure:
    """The loss, mean of each bucket with its extremes; alerts are lines, and washes while they stood."""
    drawing = Drawing("Loss", "No loss has been logged yet.")
    is_broken = False
    alerts = reader.alerts()
    shown = visible(alerts, window)
    for buckets in reader.series(("loss",), bounded(window)):
        span = _span(buckets, window)
        drawing.traces += envelope(buckets, Style())
        drawing.traces.append(lone_points(line(x_of(buckets), buckets.mean, "loss")))
        mark_broken(drawing, x_of(buckets), kinds_of(buckets), "loss")
        is_broken = broken_since(x_of(buckets), kinds_of(buckets)) is not None
        drawing.table = series_table([buckets], ["loss"])
        drawing.annotations += alert_labels(shown, span)
        drawing.shapes += alert_bands(alerts, span)
        drawing.reading = _reading(buckets)
    if drawing.traces:
        drawing.traces += alert_markers(shown)
    drawing.shapes += alert_lines(shown)
    found = risk_of(reader, bounded(window))
    if found is None:
        return drawing.figure(
            xaxis=step_axis(), yaxis=value_axis("nat"), yaxis9=mark_axis(), showlegend=False
        )
    drawing.traces += risk_lines(found, "y2")
    # Of a loss that is NaN nothing more is foretold
    if not is_broken:
        drawing.reading += risk_told(found)
    return drawing.figure(
        height=_HEIGHT,
        xaxis=step_axis(anchor="y2"),
        yaxis=value_axis("nat", domain=[0.36, 1]),
        yaxis2=value_axis("risk, %", domain=[0, 0.26], range=[0, 100], autorange=False, nticks=3),
        yaxis9=mark_axis() | {"domain": [0.36, 1]},
    )


def _span(buckets: SeriesBuckets, window: Window) -> tuple[int, int]:
    first, last = (int(buckets.first_step[0]), int(buckets.last_step[-1])) if len(buckets.count) else (0, 0)
    return first if window.start is None else window.start, last if window.stop is None else window.stop


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

"""Headroom: how many doublings are left before the residual stream passes its dtype's range."""

import numpy as np

from foreshock.dashboards.figures.broken import kinds_of, mark_broken, told_since
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
    alert_lines,
    threshold,
    threshold_label,
    visible,
)
from foreshock.dashboards.figures.numbers import words
from foreshock.wire import CATALOGUE
from foreshock.wire.readings import RunReader, SeriesBuckets, Window


def headroom(reader: RunReader, window: Window) -> Figure:
    """Headroom bits over steps; at the zero line the stream overflows its dtype."""
    drawing = Drawing("Headroom of the residual stream", "No headroom has been measured yet.")
    top = 8.0
    for buckets in reader.series(("headroom_bits",), bounded(window)):
        drawing.traces += envelope(buckets, Style())
        drawing.traces.append(lone_points(line(x_of(buckets), buckets.mean, "headroom", Style(width=2))))
        mark_broken(drawing, x_of(buckets), kinds_of(buckets), "headroom")
        drawing.table = series_table([buckets], ["headroom in bits"])
        drawing.reading = _reading(buckets)
        top = max(top, float(np.max(buckets.maximum, initial=0.0, where=np.isfinite(buckets.maximum))) * 1.08)
    drawing.shapes += [_low(), threshold(0.0), *alert_lines(visible(reader.alerts(), window))]
    if drawing.traces:
        drawing.annotations.append(threshold_label("overflow: the dtype's range ends here", 0.0))
    bottom = -1.0
    return drawing.figure(
        xaxis=step_axis(),
        yaxis=value_axis("bits", range=[bottom, round(top, 2)], autorange=False),
        yaxis9=mark_axis(),
        showlegend=False,
    )


def _low() -> dict[str, object]:
    """A wash over the part of the axis that is below the healthy band."""
    band = CATALOGUE["headroom_bits"].healthy
    return {
        "type": "rect",
        "xref": "paper",
        "yref": "y",
        "x0": 0,
        "x1": 1,
        "y0": -1,
        "y1": 0.0 if band is None else band.low,
        "layer": "below",
        "fillcolor": "var(--critical-wash)",
        "line": {"width": 0},
    }


def _reading(buckets: SeriesBuckets) -> str:
    latest = last_finite(buckets)
    if latest is None:
        return "Headroom is not finite: the stream has overflowed."
    step, bits = latest
    if bits <= 0:
        return f"None left at step {step:,}: the stream has overflowed its dtype."
    broken = told_since(x_of(buckets), kinds_of(buckets))
    left = (
        broken or f": the largest value may still double {int(bits)} {'time' if int(bits) == 1 else 'times'}"
    )
    return f"{words(bits)} bits at step {step:,}{left}."

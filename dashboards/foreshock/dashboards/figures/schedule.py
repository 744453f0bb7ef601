"""The schedule: learning rate over steps, and how long each step took."""

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
from foreshock.dashboards.figures.marks import alert_lines, visible
from foreshock.dashboards.figures.numbers import words
from foreshock.wire.readings import RunReader, SeriesBuckets, Window

_COLUMNS = {
    "learning_rate": ("learning rate", Style("series-1", width=2), "y"),
    "step_seconds": ("seconds a step", Style("series-6"), "y2"),
}


def schedule(reader: RunReader, window: Window) -> Figure:
    """Learning rate, which explains much that looks like trouble, over the pace of training."""
    drawing = Drawing("Schedule and pace", "No learning rate has been logged yet.")
    series = reader.series(tuple(_COLUMNS), bounded(window))
    for buckets in series:
        name, style, yaxis = _COLUMNS[buckets.column]
        drawing.traces += envelope(buckets, style, yaxis=yaxis)
        drawing.traces.append(lone_points(line(x_of(buckets), buckets.mean, name, style, yaxis=yaxis)))
    drawing.shapes += alert_lines(visible(reader.alerts(), window))
    drawing.table = series_table(series, [_COLUMNS[one.column][0] for one in series])
    drawing.reading = _reading({one.column: one for one in series}) or drawing.reading
    return drawing.figure(
        xaxis=step_axis(anchor="y2"),
        yaxis=value_axis("learning rate", domain=[0.36, 1], rangemode="tozero", nticks=4),
        yaxis2=value_axis("s / step", domain=[0, 0.26], rangemode="tozero", nticks=3),
        yaxis9=mark_axis() | {"domain": [0.36, 1]},
    )


def _reading(series: dict[str, SeriesBuckets]) -> str:
    parts = []
    rate = last_finite(series["learning_rate"]) if "learning_rate" in series else None
    pace = last_finite(series["step_seconds"]) if "step_seconds" in series else None
    if rate is not None:
        parts.append(f"Learning rate {words(rate[1])} at step {rate[0]:,}")
    if pace is not None:
        parts.append(f"{words(pace[1])} s a step")
    return "; ".join(parts) + "." if parts else ""

"""Gradient norm before and after clipping, and how much of the gradient clipping leaves."""

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
from foreshock.dashboards.figures.marks import alert_lines, visible
from foreshock.dashboards.figures.numbers import words
from foreshock.dashboards.figures.scale import log_axis
from foreshock.wire.readings import FloatArray, RunReader, SeriesBuckets, Window

_COLUMNS = {
    "grad_norm": ("before clipping", Style("series-1")),
    "grad_norm_clipped": ("after clipping", Style("series-3")),
    "clip_coefficient": ("share left", Style("series-2")),
}


def clip(reader: RunReader, window: Window) -> Figure:
    """Gradient norms on a log axis over the clip coefficient from 0 to 1."""
    drawing = Drawing("Gradient and clipping", "No gradient norm has been logged yet.")
    series = reader.series(tuple(_COLUMNS), bounded(window))
    for buckets in series:
        _draw(drawing, buckets)
    drawing.shapes += alert_lines(visible(reader.alerts(), window))
    drawing.table = series_table(series, [_COLUMNS[one.column][0] for one in series])
    drawing.reading = _reading({one.column: one for one in series}) or drawing.reading
    return drawing.figure(
        xaxis=step_axis(anchor="y2"),
        yaxis=log_axis("norm", _extremes(series), domain=[0.36, 1]),
        yaxis2=value_axis("share left", domain=[0, 0.26], range=[0, 1.05], autorange=False, nticks=3),
        yaxis9=mark_axis() | {"domain": [0.36, 1]},
    )


def _extremes(series: list[SeriesBuckets]) -> list[FloatArray]:
    norms = [one for one in series if one.column != "clip_coefficient"]
    return [extreme for one in norms for extreme in (one.minimum, one.maximum)]


def _draw(drawing: Drawing, buckets: SeriesBuckets) -> None:
    name, style = _COLUMNS[buckets.column]
    share = buckets.column == "clip_coefficient"
    yaxis = "y2" if share else "y"
    drawing.traces += envelope(buckets, style, log=not share, yaxis=yaxis)
    trace = lone_points(line(x_of(buckets), buckets.mean, name, style, log=not share, yaxis=yaxis))
    drawing.traces.append(trace)
    if not share:
        mark_broken(drawing, x_of(buckets), kinds_of(buckets), name, wash=buckets.column == "grad_norm")


def _reading(series: dict[str, SeriesBuckets]) -> str:
    norm, share = series.get("grad_norm"), series.get("clip_coefficient")
    latest = None if norm is None else last_finite(norm)
    if latest is None:
        return "" if norm is None else "The gradient norm is not finite."
    broken = told_since(x_of(norm), kinds_of(norm)) if norm is not None else ""
    text = f"Gradient norm {words(latest[1])} at step {latest[0]:,}{broken}"
    if broken or share is None or not np.isfinite(share.mean).any():
        return f"{text}."
    recent = share.mean[np.isfinite(share.mean)][-50:]
    return f"{text}; clipping leaves {100 * float(recent.mean()):.0f} % of it lately."

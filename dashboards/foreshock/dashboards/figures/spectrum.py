"""The singular values of the whole composite, which say in how many directions signal still travels."""

from typing import Final

import numpy as np

from foreshock.dashboards.figures.broken import kinds_of_values
from foreshock.dashboards.figures.frame import Drawing, Figure, bounded
from foreshock.dashboards.figures.numbers import steps
from foreshock.dashboards.figures.panels import Drawn, draw_panels
from foreshock.dashboards.figures.track import Track
from foreshock.wire import parse_column
from foreshock.wire.readings import LayerMap, RunReader, Window

SERIES: Final = "log_singular_value_mean"
_MOST: Final = 6


def spectrum(reader: RunReader, window: Window) -> Figure:
    """Logarithms of the composite's singular values, largest first, at most six of them."""
    drawing = Drawing("Singular values of the composite", "No singular value has been measured yet.")
    found = reader.layer_map(SERIES, bounded(window))
    if found is None or not found.mean.size:
        return draw_panels(reader, window, drawing, ())
    # There is room for more streams than a run has: what was never told is no value that is broken
    told = np.flatnonzero((found.age >= 0).any(axis=1))[:_MOST].tolist()
    tracks = [_value(found, number) for number in told]
    return draw_panels(reader, window, drawing, [Drawn("log \N{GREEK SMALL LETTER SIGMA}", tracks)])


def _value(found: LayerMap, number: int) -> Track:
    values = np.where(np.isposinf(found.maximum[number]), np.inf, found.mean[number])
    return Track(
        f"log \N{GREEK SMALL LETTER SIGMA}{number + 1}",
        parse_column(SERIES),
        steps(found.first_step),
        values,
        found.minimum[number],
        found.maximum[number],
        kinds_of_values(values),
    )

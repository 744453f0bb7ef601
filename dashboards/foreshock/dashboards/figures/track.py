"""A series as one line: its own values, or those of the layer that is farthest from health."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from foreshock.dashboards.figures.broken import kinds_of, kinds_of_values
from foreshock.dashboards.figures.colour_scale import Scale, extreme, scale_of
from foreshock.dashboards.figures.frame import bounded
from foreshock.dashboards.figures.numbers import steps
from foreshock.wire import Band, Column, parse_column
from foreshock.wire.readings import FloatArray, LayerMap, RunReader, SeriesBuckets, Window

_GIB: Final = 2.0**30


@dataclass(frozen=True, slots=True)
class Track:
    """One line over steps [k]: `values` are drawn, `low` and `high` are the extremes around them.

    Of a per-layer series the values are the worst layer's, `layers` [k] says which layer that is,
    `middle` is the median layer and the extremes are over all layers. `kinds` names what is not finite.
    """

    name: str
    column: Column
    steps: list[int]
    values: FloatArray
    low: FloatArray
    high: FloatArray
    kinds: list[str]
    layers: list[int] | None = None
    middle: FloatArray | None = None

    @property
    def band(self) -> Band | None:
        """The healthy band of its signal."""
        return None if self.column.signal is None else self.column.signal.healthy

    @property
    def log(self) -> bool:
        """Whether people read it on a log scale."""
        return self.column.signal is not None and self.column.signal.log_scale

    @property
    def unit(self) -> str:
        """Its unit, where it has one that says something."""
        signal = self.column.signal
        if signal is not None and signal.unit == "B":
            return "GiB"
        return "" if signal is None or signal.unit in ("1", "ratio") else signal.unit

    def last(self) -> int | None:
        """The place of the last finite value."""
        there = np.flatnonzero(np.isfinite(self.values))
        return int(there[-1]) if len(there) else None


def read_tracks(reader: RunReader, names: dict[str, str], window: Window) -> list[Track]:
    """The series that the run has and that have a value in the window, by their names in `names`."""
    window = bounded(window)
    plain = tuple(series for series in names if not _is_per_layer(series))
    found = {one.column: one for one in reader.series(plain, window)} if plain else {}
    tracks = []
    for series, name in names.items():
        if series in found:
            tracks.append(track_of(found[series], name))
        elif _is_per_layer(series) and (layers := reader.layer_map(series, window)) is not None:
            tracks.append(worst_track(layers, name))
    return [track for track in tracks if track.steps]


def _is_per_layer(series: str) -> bool:
    column = parse_column(series)
    return column.signal is not None and column.signal.per_layer and column.layer is None


def track_of(buckets: SeriesBuckets, name: str) -> Track:
    """A plain column as a track."""
    column = parse_column(buckets.column)
    size = _GIB if column.signal is not None and column.signal.unit == "B" else 1.0
    low = np.where(np.isfinite(buckets.minimum), buckets.minimum, buckets.mean) / size
    high = np.where(np.isfinite(buckets.maximum), buckets.maximum, buckets.mean) / size
    x, kinds = steps(buckets.first_step), kinds_of(buckets)
    return Track(name, column, x, buckets.mean / size, low, high, kinds)


def worst_track(found: LayerMap, name: str) -> Track:
    """A per-layer series as the track of whichever layer is worst at the time."""
    column = parse_column(found.series)
    values, distance = _worst(
        found, scale_of(column), None if column.signal is None else column.signal.healthy
    )
    distance = np.where(np.isnan(values), -np.inf, distance)
    layers = distance.argmax(axis=0) if values.size else np.zeros(0, np.int64)
    worst = np.take_along_axis(values, layers[None], axis=0)[0] if values.size else np.zeros(0)
    finite = [np.where(np.isfinite(one), one, np.nan) for one in (found.minimum, found.maximum, found.mean)]
    return Track(
        name,
        column,
        steps(found.first_step),
        worst,
        np.fmin.reduce(finite[0], axis=0) if values.size else worst,
        np.fmax.reduce(finite[1], axis=0) if values.size else worst,
        kinds_of_values(worst),
        layers.tolist(),
        median(finite[2]),
    )


def _worst(found: LayerMap, scale: Scale, band: Band | None) -> tuple[FloatArray, FloatArray]:
    """Values and how bad they are. Within a band about a middle the highest is shown, lest lines flicker."""
    if not scale.centred or band is None:
        values = extreme(found, scale)
        return values, scale.distance(values)
    is_low = (found.minimum < band.low) & (extreme(found, scale) == found.minimum)
    values = np.where(is_low, found.minimum, found.maximum)
    return values, np.where(is_low, scale.distance(values), scale.height(values))


def median(values: FloatArray) -> FloatArray:
    """Over layers [layers, k], of what is known; NaN where nothing is, without a warning."""
    if not len(values):
        return np.zeros(values.shape[1])
    ordered = np.sort(values, axis=0)
    num_known = np.count_nonzero(~np.isnan(values), axis=0)
    at = np.maximum(num_known - 1, 0)
    pair = np.take_along_axis(ordered, np.stack([at // 2, (at + 1) // 2]), axis=0)
    with np.errstate(over="ignore"):
        return np.where(num_known > 0, pair.mean(axis=0), np.nan)

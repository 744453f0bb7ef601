"""A run held in memory, behind the same interface as the collector's store."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foreshock.wire import parse_column
from foreshock.wire.readings import (
    AlertMark,
    Clock,
    FloatArray,
    IntArray,
    LayerMap,
    RiskBuckets,
    SeriesBuckets,
    Window,
)

_T = TypeVar("_T", bound=np.generic)


class Recording:
    """Columns over steps, in memory. A RunReader.

    `columns` maps a column's name, `loss` or `layer_amax_forward_mean[3]`, to its steps [k] (rising)
    and values [k]. A step that is absent has no value; a NaN in the values is a value that is NaN.
    `clock` and `risk` are told as they are, whatever the window.
    """

    def __init__(
        self,
        columns: Mapping[str, tuple[ArrayLike, ArrayLike]],
        alerts: Sequence[AlertMark] = (),
        *,
        clock: Clock | None = None,
        risk: tuple[ArrayLike, Mapping[str, ArrayLike]] = ((), {}),
    ) -> None:
        """`risk`: the steps [n] of the forecast's ticks, and by horizon, `20` or `5%`, its values [n]."""
        self._columns: dict[str, tuple[IntArray, FloatArray]] = {
            name: (np.asarray(steps, dtype=np.int64), np.asarray(values, dtype=np.float64))
            for name, (steps, values) in columns.items()
        }
        self._alerts = list(alerts)
        self._risk_steps = np.asarray(risk[0], dtype=np.int64)
        self._risk = {name: np.asarray(values, dtype=np.float64) for name, values in risk[1].items()}
        self._clock = clock

    def columns(self) -> tuple[str, ...]:
        """Every column that the recording has."""
        return tuple(self._columns)

    def alerts(self) -> list[AlertMark]:
        """The alerts, as they were given."""
        return list(self._alerts)

    def clock(self, window: Window) -> Clock | None:
        """The clock, as it was given."""
        return self._clock

    def risk(self, window: Window) -> RiskBuckets:
        """The forecast's risk, the largest of each bucket."""
        rows = _cut(self._risk_steps, np.arange(len(self._risk_steps)), window)[1]
        steps = self._risk_steps[rows]
        width = bucket_width(steps, window.buckets)
        return RiskBuckets.of(width, steps, {name: values[rows] for name, values in self._risk.items()})

    def series(self, columns: tuple[str, ...], window: Window) -> list[SeriesBuckets]:
        """The columns that exist, in the order asked for."""
        return [
            bucketed(name, *_cut(*self._columns[name], window), window.buckets)
            for name in columns
            if name in self._columns
        ]

    def layer_map(self, series: str, window: Window) -> LayerMap | None:
        """The map of one per-layer series, or None where the recording has none."""
        layers = {
            parsed.layer: name
            for name, parsed in ((name, parse_column(name)) for name in self._columns)
            if parsed.series == series and parsed.layer is not None
        }
        if not layers:
            return None
        cuts = {layer: _cut(*self._columns[name], window) for layer, name in layers.items()}
        width = bucket_width(np.concatenate([steps for steps, _ in cuts.values()]), window.buckets)
        rows = {layer: _buckets(layers[layer], *cut, width) for layer, cut in cuts.items()}
        grid = np.unique(np.concatenate([row.first_step // width * width for row in rows.values()]))
        arrays = {
            what: np.full((max(layers) + 1, len(grid)), np.nan) for what in ("minimum", "maximum", "mean")
        }
        is_told = np.zeros((max(layers) + 1, len(grid)), bool)
        for layer, row in rows.items():
            at = np.searchsorted(grid, row.first_step // width * width)
            for what, array in arrays.items():
                array[layer, at] = getattr(row, what)
            is_told[layer, at] = True
        return LayerMap.of(series, width, grid, is_told, **arrays)


def _cut(steps: IntArray, values: NDArray[_T], window: Window) -> tuple[IntArray, NDArray[_T]]:
    low = 0 if window.start is None else int(np.searchsorted(steps, window.start))
    high = len(steps) if window.stop is None else int(np.searchsorted(steps, window.stop, side="right"))
    return steps[low:high], values[low:high]


def bucket_width(steps: IntArray, num_buckets: int) -> int:
    """The smallest power of two under which the steps fit into `num_buckets` aligned buckets."""
    if not len(steps):
        return 1
    low, high, width = int(steps.min()), int(steps.max()), 1
    while high // width - low // width + 1 > max(1, num_buckets) and width < 1 << 60:
        width *= 2
    return width


def bucketed(name: str, steps: IntArray, values: FloatArray, num_buckets: int) -> SeriesBuckets:
    """One column in at most `num_buckets` aligned buckets that keep their extremes."""
    return _buckets(name, steps, values, bucket_width(steps, num_buckets))


def _buckets(name: str, steps: IntArray, values: FloatArray, width: int) -> SeriesBuckets:
    starts = (
        np.flatnonzero(np.diff(steps // width, prepend=-1)) if len(steps) else np.asarray([], dtype=np.int64)
    )
    ends = np.append(starts[1:], len(steps)).astype(np.int64)
    isfinite = np.isfinite(values)
    return SeriesBuckets(
        column=name,
        bucket_width=width,
        first_step=steps[starts],
        last_step=steps[ends - 1] if len(starts) else steps[starts],
        count=ends - starts,
        nonfinite=_reduced(np.add, (~isfinite).astype(np.int64), starts),
        minimum=_reduced(np.fmin, values, starts),
        maximum=_reduced(np.fmax, values, starts),
        mean=_mean(values, isfinite, starts),
        first=values[starts],
        last=values[ends - 1] if len(starts) else values[starts],
    )


def _reduced(how: np.ufunc, values: NDArray[_T], starts: IntArray) -> NDArray[_T]:
    reduced: NDArray[_T] = how.reduceat(values, starts) if len(starts) else values[:0]
    return reduced


def _mean(values: FloatArray, isfinite: NDArray[np.bool_], starts: IntArray) -> FloatArray:
    with np.errstate(all="ignore"):
        total = _reduced(np.add, np.where(isfinite, values, 0.0), starts)
        mean: FloatArray = total / _reduced(np.add, isfinite.astype(np.float64), starts)
    return mean

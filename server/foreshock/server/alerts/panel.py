"""What a picture shows of one series around a step, and how it is read from a run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from foreshock.server.store.read import StoredRun
from foreshock.wire import CATALOGUE
from foreshock.wire.readings import FloatArray, IntArray, LayerMap, SeriesBuckets, Window
from foreshock.wire.signal import Signal

MAX_PANELS: Final = 24
# Of what a reduction over tokens makes, the worst is shown
_WORST: Final = ("max", "min", "mean")


@dataclass(frozen=True, slots=True)
class Panel:
    """One series over steps [k]: extremes, a middle, and where it was not finite.

    Of a per-layer series the extremes are over all layers, the middle is their median, and `own` the
    alert's layer where there is one. NaN where nothing is known. `lines` are named and drawn each in a colour
    of its own, in the place of a value at the step; `shown` are values that the scale shows in any case.
    """

    series: str
    unit: str
    num_layers: int | None
    steps: IntArray
    low: FloatArray
    high: FloatArray
    middle: FloatArray
    broken: IntArray
    own: FloatArray | None = None
    healthy: tuple[float, float] | None = None
    log_scale: bool = False
    lines: tuple[tuple[str, FloatArray], ...] = ()
    shown: tuple[float, ...] = ()


def choose(
    layers: dict[str, int | None], signal: str | None, subject: str, most: int = MAX_PANELS
) -> tuple[list[str], int]:
    """Series to show, one a signal, and how many more there are.

    The loss comes first, then the alert's own, then those that its subject names, then the catalogue's
    in its order, then the user's own.
    """
    shown: list[str] = []
    for one in CATALOGUE.values():
        there = [series for series in one.series if series in layers]
        worst = sorted(there, key=lambda series: _rank(series.rpartition("_")[2]))
        shown += worst[:1]
    known = {series for one in CATALOGUE.values() for series in one.series}
    shown += [series for series in layers if series not in known]
    word = subject.split()[0].lower() if subject.split() else ""
    if signal in layers and signal not in shown:
        shown.insert(0, signal)

    def place(series: str) -> int:
        if series == "loss":
            return 0
        if series == signal:
            return 1
        return 2 if word and word in series else 3

    shown.sort(key=place)
    return shown[:most], max(0, len(shown) - most)


def _rank(reduction: str) -> int:
    return _WORST.index(reduction) if reduction in _WORST else len(_WORST)


def read_panels(
    run: StoredRun, series: Sequence[str], layers: dict[str, int | None], layer: int | None, window: Window
) -> Iterator[Panel]:
    """The panels of the series that have anything in the window."""
    plain = run.series(tuple(one for one in series if layers[one] is None), window)
    buckets = {one.column: one for one in plain}
    for one in series:
        if layers[one] is None:
            if one in buckets and len(buckets[one].first_step):
                yield _of_buckets(buckets[one])
        elif (found := run.layer_map(one, window)) is not None and len(found.first_step):
            yield _of_map(found, layer)


def _of_buckets(found: SeriesBuckets) -> Panel:
    signal = _signal(found.column)
    return Panel(
        found.column,
        _unit(signal),
        None,
        found.first_step,
        _finite(found.minimum),
        _finite(found.maximum),
        found.mean,
        found.first_step[found.nonfinite > 0],
        healthy=_healthy(signal),
        log_scale=signal is not None and signal.log_scale,
    )


def _of_map(found: LayerMap, layer: int | None) -> Panel:
    signal = _signal(found.series)
    is_told = found.age == 0
    is_broken = is_told & ~(np.isfinite(found.minimum) & np.isfinite(found.maximum))
    mean = _finite(found.mean)
    own = None if layer is None or not 0 <= layer < len(mean) else mean[layer]
    return Panel(
        found.series,
        _unit(signal),
        len(mean),
        found.first_step,
        _over_layers(np.fmin, _finite(found.minimum)),
        _over_layers(np.fmax, _finite(found.maximum)),
        _median(mean),
        found.first_step[is_broken.any(axis=0)],
        own,
        _healthy(signal),
        signal is not None and signal.log_scale,
    )


def _over_layers(extreme: np.ufunc, values: FloatArray) -> FloatArray:
    found: FloatArray = extreme.reduce(values, axis=0)
    return found


def _median(values: FloatArray) -> FloatArray:
    """Over layers, of what is known; NaN where nothing is."""
    ordered = np.sort(values, axis=0)
    num_known = np.count_nonzero(~np.isnan(values), axis=0)
    at = np.maximum(num_known - 1, 0)
    pair = np.take_along_axis(ordered, np.stack([at // 2, (at + 1) // 2]), axis=0)
    return np.where(num_known > 0, pair.mean(axis=0), np.nan)


def _finite(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), values, np.nan)


def _signal(series: str) -> Signal | None:
    return next((one for one in CATALOGUE.values() if series in one.series), None)


def _unit(signal: Signal | None) -> str:
    return "" if signal is None or signal.unit in ("1", "ratio") else signal.unit


def _healthy(signal: Signal | None) -> tuple[float, float] | None:
    return None if signal is None or signal.healthy is None else (signal.healthy.low, signal.healthy.high)

"""Which layer moves, by which signal, since which step."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from foreshock.dashboards.health.alert_facts import AlertFacts
from foreshock.dashboards.health.evidence import Evidence
from foreshock.wire import CATALOGUE, Band, UnknownSignalError, parse_column
from foreshock.wire.readings import RunReader, Window

LAYER_GAINS: Final = ("layer_amax_forward_mean", "layer_amax_backward_mean")
COMPOSITE_GAINS: Final = ("composite_amax_forward_mean", "composite_amax_backward_mean")
LAYER_BAND: Final = Band(0.9, 1.1)
# Bands that healthy routers keep after their first steps, and that say which layer: of staleness and of
# SwiGLU's headroom, healthy runs of the development split leave theirs, and dead experts come and go
ROUTER_SERIES: Final = ("router_max_violation", "router_entropy")
# How many steps before a death its last living gains are looked for
_LAST_STEPS: Final = 32


@dataclass(frozen=True, slots=True)
class Movement:
    """One layer's value of one series; `value` is None where only its alert is known."""

    layer: int
    series: str
    value: float | None
    since_step: int | None = None

    @property
    def column(self) -> str:
        """The column that shows it."""
        return f"{self.series}[{self.layer}]"

    @property
    def is_gain(self) -> bool:
        """Whether it is the gain of the layer itself."""
        return self.series in LAYER_GAINS or self.series == "layer_gain"

    @property
    def is_composite(self) -> bool:
        """Whether it is the product of all layers up to, or from, this one."""
        return self.series.startswith(("composite_", "log_composite_"))


def movement_of(
    evidence: Evidence, alerts: list[AlertFacts], reader: RunReader | None = None, stop: int | None = None
) -> Movement | None:
    """The layer that moves most, None where none has left its band.

    A mixing layer outside its band comes first, then a router, whose drift shows in other layers' streams
    too, then the layers that `alerts` name, in their order, then departures. `reader` tells since when;
    `stop` is the last step that counts, of a run that has died.
    """
    if stop is not None:
        gains = living_gains(reader, stop) if reader is not None else {}
        evidence = replace(evidence, values=gains, layer_gain=None)
    found = worst_gain(evidence)
    if found is None or found.value is None or is_inside(found.value, LAYER_BAND):
        found = worst_router(evidence.values) or _named(evidence, alerts) or _departed(evidence)
    if found is None or found.since_step is not None or reader is None:
        return found
    left = left_since(reader, found.column, band_of(found), stop)
    return replace(found, since_step=_opened(found, alerts) if left is None else left)


def band_of(movement: Movement) -> Band | None:
    """The healthy band of what moves, None where the catalogue has none."""
    if movement.is_gain:
        return LAYER_BAND
    try:
        signal = parse_column(movement.series).signal
    except UnknownSignalError:
        return None
    return None if signal is None else signal.healthy


def worst_gain(evidence: Evidence) -> Movement | None:
    """The mixing layer whose gain is farthest from 1, either way."""
    told = (Movement(layer, series, value) for layer, series, value in _of(evidence.values, LAYER_GAINS))
    worst = max(told, key=lambda one: distance(one.value), default=None)
    if worst is None and evidence.layer_gain is not None:
        layer, gain = evidence.layer_gain
        return Movement(layer, "layer_gain", gain)
    return worst


def worst_composite(evidence: Evidence) -> tuple[float, int | None] | None:
    """The composite gain farthest from 1, and its layer where that is known."""
    told = [(value, layer) for layer, _, value in _of(evidence.values, COMPOSITE_GAINS)]
    if told:
        return max(told, key=lambda one: distance(one[0]))
    return None if evidence.composite is None else (evidence.composite, None)


def worst_router(values: Mapping[str, float]) -> Movement | None:
    """The layer whose routing is farthest outside its healthy band, None where all are inside."""
    outside = [
        (excess, Movement(layer, series, value))
        for layer, series, value in _of(values, ROUTER_SERIES)
        if (excess := _excess(value, CATALOGUE[series].healthy)) > 0
    ]
    return max(outside, key=lambda one: one[0], default=(0.0, None))[1]


def distance(gain: float | None) -> float:
    """How far a gain is from 1: its logarithm's size; infinite for what no healthy gain is."""
    if gain is None or not math.isfinite(gain) or gain <= 0:
        return math.inf
    return abs(math.log(gain))


def is_inside(value: float, band: Band) -> bool:
    """Whether a value is in a band; NaN is not."""
    return band.low <= value <= band.high


def left_since(reader: RunReader, column: str, band: Band | None, stop: int | None = None) -> int | None:
    """The step since which a column has been outside a band for good; None where it is inside.

    Looked for among the means of buckets first, then step by step where they cross.
    """
    if band is None:
        return None
    window = Window(stop=stop)
    for _ in range(2):
        found = reader.series((column,), window)
        if not found or not len(found[0].mean):
            return None
        buckets = found[0]
        inside = np.flatnonzero((buckets.mean >= band.low) & (buckets.mean <= band.high))
        if not len(inside):
            return int(buckets.first_step[0])
        last = int(inside[-1])
        if buckets.bucket_width == 1:
            return int(buckets.first_step[last + 1]) if last + 1 < len(buckets.mean) else None
        after = min(last + 1, len(buckets.mean) - 1)
        start, end = int(buckets.first_step[last]), int(buckets.last_step[after])
        window = Window(start, end, end - start + 1)
    return None


def living_gains(reader: RunReader, stop: int) -> dict[str, float]:
    """Each layer's newest gains up to step `stop`, under their columns."""
    gains: dict[str, float] = {}
    for series in LAYER_GAINS:
        found = reader.layer_map(series, Window(max(0, stop - _LAST_STEPS), stop, _LAST_STEPS + 1))
        if found is None:
            continue
        for layer, row in enumerate(found.mean):
            living = np.flatnonzero(np.isfinite(row))
            if len(living):
                gains[f"{series}[{layer}]"] = float(row[living[-1]])
    return gains


def _of(values: Mapping[str, float], wanted: tuple[str, ...]) -> Iterator[tuple[int, str, float]]:
    for column, value in values.items():
        series, bracket, rest = column.partition("[")
        if bracket and series in wanted and rest[:-1].isdecimal():
            yield int(rest[:-1]), series, value


def _named(evidence: Evidence, alerts: list[AlertFacts]) -> Movement | None:
    """What the first of the alerts rests on that names a layer; a product of layers only after all others."""
    named = [
        Movement(one.layer, one.signal, evidence.values.get(f"{one.signal}[{one.layer}]"))
        for one in alerts
        if one.layer is not None and one.signal is not None
    ]
    return next((one for one in named if not one.is_composite), named[0] if named else None)


def _opened(movement: Movement, alerts: list[AlertFacts]) -> int | None:
    """The first step of an alert that rests on it."""
    resting = (one for one in alerts if (one.signal, one.layer) == (movement.series, movement.layer))
    return min((one.opened_step for one in resting), default=None)


def _departed(evidence: Evidence) -> Movement | None:
    of_layers = [
        Movement(one.layer, one.series, evidence.values.get(f"{one.series}[{one.layer}]"), one.since_step)
        for one in evidence.departures
        if one.layer is not None
    ]
    return min(of_layers, key=lambda one: one.since_step or 0, default=None)


def _excess(value: float, band: Band | None) -> float:
    """How far outside a band a value is, in widths of the band."""
    if band is None or math.isnan(value):
        return 0.0
    return max(value - band.high, band.low - value) / (band.high - band.low)

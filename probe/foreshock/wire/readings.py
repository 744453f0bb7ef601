"""What readers of a run get: bucketed series and layer-by-step maps, as arrays.

The store fills these, the API writes them as JSON, the figures draw them. A bucket keeps the
extremes of what fell into it, so that a spike of one step is seen at every resolution.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from foreshock.wire.signal import WHOLE_EVERY

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SeriesBuckets:
    """One column over steps, in buckets [k] of `bucket_width` steps; width 1 is the raw series.

    Edges are multiples of the width, so they do not move while a run grows. `minimum` and `maximum`
    leave NaN out and keep Inf, `mean` is over finite values; all three are NaN where nothing else is.
    """

    column: str
    bucket_width: int
    first_step: IntArray
    last_step: IntArray
    count: IntArray
    nonfinite: IntArray
    minimum: FloatArray
    maximum: FloatArray
    mean: FloatArray
    first: FloatArray
    last: FloatArray


@dataclass(frozen=True, slots=True)
class LayerMap:
    """One per-layer series over steps: arrays [layers, k], NaN where a layer has no value.

    Of a deep model not every reading tells all layers: `age` says how many columns ago a cell's value was
    told, 0 in its own, and -1 where none is known.
    """

    series: str
    bucket_width: int
    first_step: IntArray
    minimum: FloatArray
    maximum: FloatArray
    mean: FloatArray
    age: IntArray

    @classmethod
    def of(
        cls,
        series: str,
        bucket_width: int,
        first_step: IntArray,
        is_told: BoolArray,
        **values: FloatArray,
    ) -> Self:
        """A map of the values that were told; what was not is held, for as long as all are told again."""
        columns = np.arange(is_told.shape[1])
        last = np.maximum.accumulate(np.where(is_told, columns, -1), axis=1)
        age = np.where((last >= 0) & (columns - last < WHOLE_EVERY), columns - last, -1)
        told = np.where(age > 0, last, columns)
        held = {name: np.take_along_axis(value, told, axis=1) for name, value in values.items()}
        return cls(series, bucket_width, first_step, **held, age=age)


@dataclass(frozen=True, slots=True)
class RiskBuckets:
    """The forecast's risk over steps, in buckets [k] of `bucket_width` steps; width 1 is every tick of it.

    risk: by horizon ("20" and "100" steps, "5%" and "10%" of the run) the largest of each bucket [k], 0 to
    1: of a spike or divergence within that of the step at which it was forecast.
    """

    bucket_width: int
    first_step: IntArray
    last_step: IntArray
    risk: dict[str, FloatArray]

    @classmethod
    def of(cls, bucket_width: int, steps: IntArray, risk: Mapping[str, FloatArray]) -> Self:
        """Buckets of ticks at steps [n], in rising order, and by horizon the risk [n] there."""
        starts = np.flatnonzero(np.diff(steps // bucket_width, prepend=-1))
        ends = np.append(starts[1:], len(steps))[: len(starts)] - 1
        largest = {
            horizon: np.maximum.reduceat(values, starts) if len(starts) else values
            for horizon, values in risk.items()
        }
        return cls(bucket_width, steps[starts], steps[ends], largest)


@dataclass(frozen=True, slots=True)
class AlertMark:
    """An alert as a figure marks it."""

    rule: str
    severity: str
    state: str
    subject: str
    opened_step: int
    fired_step: int | None
    resolved_step: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a run is asked for: steps `start` .. `stop` (inclusive, None = open end)."""

    start: int | None = None
    stop: int | None = None
    buckets: int = 500
    attempt: int | None = None


class RunReader(Protocol):
    """What a figure may ask of one run. The collector's store is one; a list of arrays may be another."""

    def columns(self) -> tuple[str, ...]:
        """Every column that the run has."""

    def series(self, columns: tuple[str, ...], window: Window) -> list[SeriesBuckets]:
        """The columns that exist, in the order asked for."""

    def layer_map(self, series: str, window: Window) -> LayerMap | None:
        """The map of one per-layer series, or None where the run has none."""

    def risk(self, window: Window) -> RiskBuckets:
        """The forecast's risk; no bucket where nothing was forecast."""

    def alerts(self) -> list[AlertMark]:
        """The run's alerts, oldest first."""


@dataclass(frozen=True, slots=True)
class Clock:
    """When steps were made: some steps [k], rising, and their seconds since the epoch [k], never falling.

    `began` is the attempt's first moment; between two steps time may be taken to pass evenly.
    """

    began: float
    steps: IntArray
    seconds: FloatArray


@runtime_checkable
class ClockReader(Protocol):
    """A reader that also knows when steps were made."""

    def clock(self, window: Window) -> Clock | None:
        """The clock over the window's steps; None where no step has a time."""


@dataclass(frozen=True, slots=True)
class SeedSeries:
    """One run of a group on the group's common steps [k]; NaN where it has no value any more."""

    run_id: str
    name: str
    seed: int | None
    values: FloatArray


@dataclass(frozen=True, slots=True)
class GroupSeries:
    """One column of a group of runs: its seeds, their mean, and a band around it, arrays [k]."""

    key: str
    first_step: IntArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    seeds: tuple[SeedSeries, ...]


@dataclass(frozen=True, slots=True)
class GroupDifference:
    """One column of a group of runs against another's, arrays [k], with Welch's 95 % interval.

    Of a signal read by logarithm it is the ratio of geometric means, "ratio" in `scale`, else the
    difference of means. `low` and `high` are NaN where a group has fewer than two seeds.
    """

    of: str
    against: str
    scale: Literal["difference", "ratio"]
    first_step: IntArray
    middle: FloatArray
    low: FloatArray
    high: FloatArray
    num_of: IntArray
    num_against: IntArray

"""One step of a run: the columns of all its streams and ranks, merged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock.server.detection.context import REDUCTION_CODES, Columns, columns_of
from foreshock.wire import is_missing

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
StepArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RankFrames:
    """Frames of one stream of one rank: steps [k], times [k], values [columns, k]."""

    rank: int
    columns: tuple[str, ...]
    steps: StepArray
    times: NDArray[np.float64]
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sample:
    """One step's values [columns]. NaN without `present` was not measured; with it, it was NaN."""

    step: int
    time: float
    columns: Columns
    values: FloatArray
    present: BoolArray

    def scalar(self, series: str) -> float:
        """The value of a series without layers, NaN where it is missing."""
        place = self.columns.scalar(series)
        return float("nan") if place is None else float(self.values[place])

    def layers(self, series: str) -> FloatArray:
        """The values [layers] of a per-layer series, empty where it is missing at this step."""
        places = self.columns.layers(series)
        return self.values[places] if self.present[places].any() else self.values[:0]


def sample_of(step: int, values: dict[str, float], time: float = 0.0) -> Sample:
    """A sample from a plain mapping, for one rank and all streams."""
    columns = columns_of(tuple(values))
    row = np.array([values[name] for name in columns.names], np.float64)
    return Sample(step, time, columns, row, np.ones(len(row), np.bool_))


def merge(frames: Sequence[RankFrames]) -> list[Sample]:
    """Joins streams by step and reduces ranks as the catalogue says; one sample a step, in order.

    A rank that has no value at a step is left out of that step's reduction; a NaN it did measure
    is not: it stays NaN in the result, whatever the other ranks say.
    """
    if not frames:
        return []
    columns = columns_of(tuple(dict.fromkeys(name for frame in frames for name in frame.columns)))
    steps = np.unique(np.concatenate([frame.steps for frame in frames]))
    times = np.zeros(len(steps))
    ranks = sorted({frame.rank for frame in frames})
    grids = [_grid([f for f in frames if f.rank == rank], columns, steps, times) for rank in ranks]
    values, present = grids[0] if len(grids) == 1 else reduce_ranks(grids, columns)
    return [
        Sample(int(step), float(times[row]), columns, values[row], present[row])
        for row, step in enumerate(steps)
    ]


def _grid(
    frames: Sequence[RankFrames], columns: Columns, steps: StepArray, times: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """One rank's values and presence [steps, columns]; `times` takes the latest time of each step."""
    values = np.full((len(steps), len(columns.names)), np.nan)
    present = np.zeros(values.shape, np.bool_)
    for frame in frames:
        rows = np.searchsorted(steps, frame.steps)
        places = np.array([columns.place[name] for name in frame.columns], np.intp)
        values[np.ix_(rows, places)] = frame.values.T
        present[np.ix_(rows, places)] = ~is_missing(frame.values).T
        # A time that is NaN tells nothing; an alert of that step must have one all the same
        times[rows] = np.fmax(times[rows], frame.times)
    return values, present


def reduce_ranks(
    grids: Sequence[tuple[FloatArray, BoolArray]], columns: Columns
) -> tuple[FloatArray, BoolArray]:
    """Ranks' values and presence [steps, columns] into one, rank by rank, as the catalogue says.

    So the result does not depend on how steps are grouped.
    """
    present = np.logical_or.reduce([grid[1] for grid in grids])
    count = np.zeros(present.shape)
    total = np.zeros(present.shape)
    highest = np.full(present.shape, -np.inf)
    lowest = np.full(present.shape, np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        for values, here in grids:
            count += here
            total += np.where(here, values, 0.0)
            highest = np.where(here, np.maximum(highest, values), highest)
            lowest = np.where(here, np.minimum(lowest, values), lowest)
        mean = total / count
    chosen = np.where(columns.reductions == REDUCTION_CODES["max"], highest, mean)
    chosen = np.where(columns.reductions == REDUCTION_CODES["min"], lowest, chosen)
    return np.where(present, chosen, np.nan), present

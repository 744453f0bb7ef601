"""Streams of different cadence and ranks joined into one block of steps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock.server.detection.block import Block, block_of
from foreshock.server.detection.context import REDUCTION_CODES, Columns, columns_of
from foreshock.server.detection.sample import BoolArray, FloatArray, StepArray
from foreshock.wire import is_missing


@dataclass(frozen=True, slots=True)
class RankFrames:
    """Frames of one stream of one rank: steps [k], times [k], values [columns, k]."""

    rank: int
    columns: tuple[str, ...]
    steps: StepArray
    times: NDArray[np.float64]
    values: NDArray[np.float32]


def merge(frames: Sequence[RankFrames]) -> Block:
    """Joins streams by step and reduces ranks as the catalogue says.

    A rank that has no value at a step is left out of that step's reduction; a NaN it did measure
    is not: it stays NaN in the result, whatever the other ranks say.
    """
    if not frames:
        return block_of({})
    columns = columns_of(tuple(dict.fromkeys(name for frame in frames for name in frame.columns)))
    steps = np.unique(np.concatenate([frame.steps for frame in frames]))
    times = np.zeros(len(steps))
    ranks = sorted({frame.rank for frame in frames})
    grids = [_grid([f for f in frames if f.rank == rank], columns, steps, times) for rank in ranks]
    values, present = grids[0] if len(grids) == 1 else reduce_ranks(grids, columns)
    return Block(steps, times, columns, values, present)


def _grid(
    frames: Sequence[RankFrames], columns: Columns, steps: StepArray, times: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """One rank's values and presence [steps, columns]; `times` takes the latest time of each step."""
    values = np.full((len(steps), len(columns.names)), np.nan, order="F")
    present = np.zeros(values.shape, np.bool_, order="F")
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

"""Some steps of a run in one array: what detectors look at, many steps at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock.server.detection.context import Columns, columns_of
from foreshock.server.detection.sample import BoolArray, FloatArray, Sample, StepArray


@dataclass(frozen=True, slots=True)
class Block:
    """Steps [S] in rising order, their times [S], values and presence [S, columns].

    A value that is NaN without `present` was not measured; with it, it was NaN. Made column by column
    (order "F"), which is how they are looked at; any other order is only slower.
    """

    steps: StepArray
    times: FloatArray
    columns: Columns
    values: FloatArray
    present: BoolArray

    def __len__(self) -> int:
        return len(self.steps)

    def scalar(self, series: str) -> FloatArray:
        """The values [S] of a series without layers, NaN where it is missing."""
        place = self.columns.scalar(series)
        return np.full(len(self), np.nan) if place is None else self.values[:, place]

    def layers(self, series: str) -> FloatArray:
        """The values [S, layers] of a per-layer series, NaN where one is missing; no layers without any."""
        places = self.columns.layers(series)
        # Columns are in order, so that a series is one slice of them
        return self.values[:, places[0] : places[-1] + 1] if len(places) else self.values[:, :0]

    def sample(self, row: int) -> Sample:
        """One of its steps."""
        step, time = int(self.steps[row]), float(self.times[row])
        return Sample(step, time, self.columns, self.values[row], self.present[row])

    def samples(self) -> Iterator[Sample]:
        """The same, one step at a time."""
        for row in range(len(self)):
            yield self.sample(row)

    def part(self, start: int, end: int) -> "Block":
        """The steps from row `start` up to, not with, row `end`."""
        rows = slice(start, end)
        return Block(self.steps[rows], self.times[rows], self.columns, self.values[rows], self.present[rows])


def block_of(
    series: Mapping[str, Sequence[float] | NDArray[np.floating]],
    steps: Sequence[int] | StepArray | None = None,
    present: Mapping[str, BoolArray] | None = None,
) -> Block:
    """A block from columns [S] by name, as one rank would have sent them; steps count from 0 by default.

    `present` tells of a column's steps which were measured; all are where it says nothing.
    """
    columns = columns_of(tuple(series))
    length = len(next(iter(series.values()), ()))
    values = np.empty((length, len(columns.names)), order="F")
    here = np.ones(values.shape, np.bool_, order="F")
    for place, name in enumerate(columns.names):
        values[:, place] = series[name]
        if present is not None and name in present:
            here[:, place] = present[name]
    values[~here] = np.nan
    own_steps = np.arange(length, dtype=np.int64) if steps is None else np.asarray(steps, np.int64)
    return Block(own_steps, np.zeros(length), columns, values, here)

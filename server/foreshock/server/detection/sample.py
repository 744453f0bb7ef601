"""One step of a run: the columns of all its streams and ranks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock.server.detection.context import Columns, columns_of

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
Int16Array = NDArray[np.int16]
BoolArray = NDArray[np.bool_]
StepArray = NDArray[np.int64]


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

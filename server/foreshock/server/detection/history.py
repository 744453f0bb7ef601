"""The last steps of every measure: one ring for all rules, bounded, NaN where nothing was measured."""

import math
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from foreshock.server.detection.measures import Measure

FloatArray = NDArray[np.float64]
StepArray = NDArray[np.int64]

NUM_MEASURES: Final = len(Measure)
CAPACITY: Final = 256


class PackedHistory(msgspec.Struct, frozen=True):
    """A history as it is stored: steps int64 [k], values float64 [measures, k], latest [measures]."""

    steps: bytes
    values: bytes
    latest_steps: bytes
    latest_values: bytes


class History:
    """Keeps the last `CAPACITY` samples, and of each measure its latest finite value.

    The arrays hold twice the capacity, so that a window is always one contiguous slice.
    """

    def __init__(self) -> None:
        self._steps: StepArray = np.zeros(2 * CAPACITY, np.int64)
        self._values: FloatArray = np.full((NUM_MEASURES, 2 * CAPACITY), np.nan)
        self._end = 0
        self._latest_steps: StepArray = np.full(NUM_MEASURES, -1, np.int64)
        self._latest_values: FloatArray = np.full(NUM_MEASURES, np.nan)

    def append(self, step: int, row: FloatArray) -> None:
        """Takes the measures [measures] of one more step."""
        if self._end == 2 * CAPACITY:
            self._steps[: CAPACITY - 1] = self._steps[CAPACITY + 1 :]
            self._values[:, : CAPACITY - 1] = self._values[:, CAPACITY + 1 :]
            self._end = CAPACITY - 1
        self._steps[self._end] = step
        self._values[:, self._end] = row
        self._end += 1
        finite = np.isfinite(row)
        self._latest_steps[finite] = step
        self._latest_values[finite] = row[finite]

    def __len__(self) -> int:
        return min(self._end, CAPACITY)

    def since(self, measure: Measure, first_step: int) -> tuple[StepArray, FloatArray]:
        """Steps and finite values of a measure from `first_step` on."""
        start = max(0, self._end - CAPACITY)
        start += int(np.searchsorted(self._steps[start : self._end], first_step))
        steps, values = self._steps[start : self._end], self._values[measure, start : self._end]
        finite = np.isfinite(values)
        return steps[finite], values[finite]

    def latest(self, measure: Measure, first_step: int) -> float:
        """The latest finite value, NaN where there is none since `first_step`."""
        if self._latest_steps[measure] < max(first_step, 0):
            return math.nan
        return float(self._latest_values[measure])

    def pack(self) -> PackedHistory:
        """What a restart needs to go on as if nothing had happened."""
        kept = slice(max(0, self._end - CAPACITY), self._end)
        return PackedHistory(
            self._steps[kept].tobytes(),
            self._values[:, kept].tobytes(),
            self._latest_steps.tobytes(),
            self._latest_values.tobytes(),
        )

    @classmethod
    def unpack(cls, packed: PackedHistory) -> "History":
        """The inverse of `pack`."""
        history = cls()
        steps = np.frombuffer(packed.steps, np.int64)
        history._end = len(steps)
        history._steps[: len(steps)] = steps
        values = np.frombuffer(packed.values, np.float64).reshape(NUM_MEASURES, -1)
        history._values[:, : len(steps)] = values
        history._latest_steps = np.frombuffer(packed.latest_steps, np.int64).copy()
        history._latest_values = np.frombuffer(packed.latest_values, np.float64).copy()
        return history

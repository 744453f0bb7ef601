"""The last steps of every measure: one for all rules, bounded, NaN where nothing was measured.

Steps come by blocks. Rules look at each of them from where it stands: `stand_at` says which one is the
newest, and nothing behind it is seen.
"""

import math
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from foreshock.server.detection.measures import Measure
from foreshock.server.detection.planes import squeeze, unsqueeze

FloatArray = NDArray[np.float64]
StepArray = NDArray[np.int64]

NUM_MEASURES: Final = len(Measure)
CAPACITY: Final = 256


class PackedHistory(msgspec.Struct, frozen=True):
    """A history as it is stored: differences of steps int64 [k] and values [measures, k], latest [measures].

    `widths` tells of each measure in how many bytes its values are written: 8, 4 where float32 holds them
    all, 0 where all are NaN; without it 8 for all. `planes` holds the differences and the values squeezed;
    older collectors wrote steps and values plainly.
    """

    steps: bytes
    values: bytes
    latest_steps: bytes
    latest_values: bytes
    widths: bytes = b""
    planes: bytes = b""


class History:
    """Keeps the last `CAPACITY` samples, and of each measure its latest finite value."""

    def __init__(self) -> None:
        self._steps: StepArray = np.zeros(0, np.int64)
        self._values: FloatArray = np.zeros((NUM_MEASURES, 0))
        # Where the newest block begins, and where the samples end that are seen
        self._start = self._end = 0
        # The latest finite value of each measure before the first sample, and up to each the place of its own
        self._before_steps: StepArray = np.full(NUM_MEASURES, -1, np.int64)
        self._before_values: FloatArray = np.full(NUM_MEASURES, np.nan)
        self._latest = np.zeros((NUM_MEASURES, 0), np.intp)

    def extend(self, steps: StepArray, values: FloatArray) -> None:
        """Takes more steps [k] with their measures [measures, k], and stands at the last."""
        kept = slice(max(0, self._end - CAPACITY), self._end)
        before = [self._latest_before(measure, kept.start) for measure in range(NUM_MEASURES)]
        self._before_steps = np.array([step for step, _ in before], np.int64)
        self._before_values = np.array([value for _, value in before])
        self._start = kept.stop - kept.start
        self._steps = np.concatenate((self._steps[kept], steps))
        self._values = np.concatenate((self._values[:, kept], values), axis=1)
        self._end = len(self._steps)
        places = np.where(np.isfinite(self._values), np.arange(self._end), -1)
        self._latest = np.maximum.accumulate(places, axis=1)

    def stand_at(self, row: int) -> None:
        """Makes a row of the newest block the newest that is seen."""
        self._end = self._start + row + 1

    def __len__(self) -> int:
        return min(self._end, CAPACITY)

    def since(self, measure: Measure, first_step: int) -> tuple[StepArray, FloatArray]:
        """Steps and finite values of a measure from `first_step` on."""
        start = max(0, self._end - CAPACITY)
        start += int(self._steps[start : self._end].searchsorted(first_step))
        steps, values = self._steps[start : self._end], self._values[measure, start : self._end]
        finite = np.isfinite(values)
        return steps[finite], values[finite]

    def all(self, measure: Measure) -> tuple[StepArray, FloatArray, int]:
        """All that is held, of steps not yet seen too: steps, values, where the newest block begins."""
        return self._steps, self._values[measure], self._start

    def latest(self, measure: Measure, first_step: int) -> float:
        """The latest finite value, NaN where there is none since `first_step`."""
        step, value = self._latest_before(measure, self._end)
        return math.nan if step < max(first_step, 0) else value

    def latest_within(self, measure: Measure, window_steps: int) -> FloatArray:
        """For each step of the newest block the latest finite value up to it, NaN if it is older."""
        steps, places = self._steps[self._start :], self._latest[measure, self._start :]
        told = np.where(places >= 0, self._steps[places], self._before_steps[measure])
        values = np.where(places >= 0, self._values[measure, places], self._before_values[measure])
        return np.where(told >= np.maximum(steps - window_steps, 0), values, np.nan)

    def pack(self) -> PackedHistory:
        """What a restart needs to go on as if nothing had happened."""
        kept = slice(max(0, self._end - CAPACITY), self._end)
        rows = [_narrowed(row) for row in self._values[:, kept]]
        latest = [self._latest_before(measure, self._end) for measure in range(NUM_MEASURES)]
        told = [np.diff(self._steps[kept], prepend=0), *(row for row in rows if row is not None)]
        return PackedHistory(
            b"",
            b"",
            np.array([step for step, _ in latest], np.int64).tobytes(),
            np.array([value for _, value in latest]).tobytes(),
            bytes(0 if row is None else row.itemsize for row in rows),
            squeeze(told),
        )

    @classmethod
    def unpack(cls, packed: PackedHistory) -> "History":
        """The inverse of `pack`."""
        history = cls()
        widths = packed.widths or bytes([8] * (len(packed.latest_steps) // 8))
        steps, values = _unsqueezed(packed.planes, widths) if packed.planes else _unpack(packed, widths)
        history._before_steps[: len(widths)] = np.frombuffer(packed.latest_steps, np.int64)
        history._before_values[: len(widths)] = np.frombuffer(packed.latest_values, np.float64)
        history.extend(steps, values)
        return history

    def _latest_before(self, measure: int, end: int) -> tuple[int, float]:
        """Step and value of the latest finite one among the first `end` samples, or before them."""
        place = self._latest[measure, end - 1] if end else -1
        if place < 0:
            return int(self._before_steps[measure]), float(self._before_values[measure])
        return int(self._steps[place]), float(self._values[measure, place])


def _narrowed(row: FloatArray) -> NDArray[np.floating] | None:
    """A measure's values in as few bytes as lose nothing, None where there are none."""
    if np.isnan(row).all():
        return None
    with np.errstate(over="ignore"):
        narrow = row.astype("<f4")
    is_same = np.array_equal(narrow.astype(np.float64), row, equal_nan=True)
    return narrow if is_same else row.astype("<f8")


def _unsqueezed(planes: bytes, widths: bytes) -> tuple[StepArray, FloatArray]:
    told = [measure for measure, width in enumerate(widths) if width]
    differences, *rows = unsqueeze(planes, ["<i8", *(f"<f{widths[measure]}" for measure in told)])
    values = np.full((NUM_MEASURES, len(differences)), np.nan)
    for measure, row in zip(told, rows, strict=True):
        values[measure] = row
    return np.cumsum(differences), values


def _unpack(packed: PackedHistory, widths: bytes) -> tuple[StepArray, FloatArray]:
    steps = np.frombuffer(packed.steps, np.int64)
    values = np.full((NUM_MEASURES, len(steps)), np.nan)
    offset = 0
    for measure, width in enumerate(widths):
        if width:
            values[measure] = np.frombuffer(packed.values, f"<f{width}", len(steps), offset)
        offset += width * len(steps)
    return steps, values

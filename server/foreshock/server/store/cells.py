"""Cells over steps: power-of-two widths at fixed edges, each with the extremes of what fell into it.

A cell of width w holds the steps with the same step // w, so its edges do not move while a run grows,
and doubling the width joins exactly two neighbours. What readers call buckets are cells; envelopes are
cells that were made when their steps were stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from foreshock.wire.readings import BoolArray, FloatArray, IntArray, SeriesBuckets

StepArray = NDArray[np.int64]
ValueArray = NDArray[np.float32] | NDArray[np.float64]


def cell_width(first_step: int, last_step: int, max_cells: int) -> int:
    """The smallest power of two that covers first_step .. last_step with at most `max_cells`."""
    width = 1
    while last_step // width - first_step // width + 1 > max_cells:
        width *= 2
    return width


@dataclass(frozen=True, slots=True)
class Cells:
    """Columns over cells: `edge` [n] is the first step that could be in a cell, all others are [columns, n].

    `first_step`, `last_step`, `first` and `last` are those of the values present, `count` of them, of
    which `nonfinite` are NaN or infinite. `minimum` and `maximum` leave NaN out and keep Inf; `mean` is
    over finite values, but a lone value is its own mean. Where `count` is 0 the rest means nothing.
    """

    edge: IntArray
    first_step: IntArray
    last_step: IntArray
    count: IntArray
    nonfinite: IntArray
    minimum: FloatArray
    maximum: FloatArray
    mean: FloatArray
    first: FloatArray
    last: FloatArray

    @classmethod
    def of(cls, steps: StepArray, values: ValueArray, present: BoolArray, width: int) -> Self:
        """Cells of rising steps [k] and values [columns, k], of which only those present count."""
        if len(steps) == 0:
            return cls.none(len(values))
        starts = _starts(steps // width)
        if present.all():
            return cls._of_whole(steps, widened(values), starts, width)
        index = np.arange(len(steps))
        first = np.minimum.reduceat(np.where(present, index, len(steps) - 1), starts, axis=1)
        last = np.maximum.reduceat(np.where(present, index, 0), starts, axis=1)
        exact = np.where(present, widened(values), np.nan)
        finite = np.isfinite(exact)
        count = np.add.reduceat(present, starts, axis=1, dtype=np.int64)
        num_finite = np.add.reduceat(finite, starts, axis=1, dtype=np.int64)
        firsts = np.take_along_axis(exact, first, 1)
        with np.errstate(invalid="ignore", over="ignore"):
            total = np.add.reduceat(np.where(finite, exact, 0.0), starts, axis=1)
            return cls(
                edge=steps[starts] // width * width,
                first_step=steps[first],
                last_step=steps[last],
                count=count,
                nonfinite=count - num_finite,
                minimum=np.fmin.reduceat(exact, starts, axis=1),
                maximum=np.fmax.reduceat(exact, starts, axis=1),
                mean=_mean(total, num_finite, count, firsts),
                first=firsts,
                last=np.take_along_axis(exact, last, 1),
            )

    @classmethod
    def _of_whole(cls, steps: StepArray, exact: FloatArray, starts: IntArray, width: int) -> Self:
        """As `of` where every value is there: what is first and last need not be looked for."""
        ends = np.append(starts[1:], len(steps)) - 1
        shape = (len(exact), len(starts))
        count = np.broadcast_to(ends - starts + 1, shape)
        finite = np.isfinite(exact)
        is_finite = bool(finite.all())
        num_finite = count if is_finite else np.add.reduceat(finite, starts, axis=1, dtype=np.int64)
        firsts = exact[:, starts]
        with np.errstate(invalid="ignore", over="ignore"):
            total = np.add.reduceat(exact if is_finite else np.where(finite, exact, 0.0), starts, axis=1)
            return cls(
                edge=steps[starts] // width * width,
                first_step=np.broadcast_to(steps[starts], shape),
                last_step=np.broadcast_to(steps[ends], shape),
                count=count,
                nonfinite=count - num_finite,
                minimum=np.fmin.reduceat(exact, starts, axis=1),
                maximum=np.fmax.reduceat(exact, starts, axis=1),
                mean=_mean(total, num_finite, count, firsts),
                first=firsts,
                last=exact[:, ends],
            )

    @classmethod
    def none(cls, num_columns: int) -> Self:
        """No cells of some columns."""
        whole, real = np.zeros((num_columns, 0), np.int64), np.zeros((num_columns, 0))
        return cls(np.zeros(0, np.int64), whole, whole, whole, whole, real, real, real, real, real)

    @classmethod
    def join(cls, parts: Sequence["Cells"], num_columns: int) -> "Cells":
        """Parts of the same columns that follow one another in steps."""
        if len(parts) < 2:
            return parts[0] if parts else cls.none(num_columns)
        names = cls.__dataclass_fields__
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts], -1) for name in names})

    def widen(self, width: int) -> "Cells":
        """The same in cells of `width`, a multiple of what they are; cells of one edge become one."""
        if len(self.edge) == 0:
            return self
        starts = _starts(self.edge // width)
        if len(starts) == len(self.edge):
            return self._at(self.edge // width * width)
        told, index = self.count > 0, np.arange(len(self.edge))
        first = np.minimum.reduceat(np.where(told, index, len(index) - 1), starts, axis=1)
        last = np.maximum.reduceat(np.where(told, index, 0), starts, axis=1)
        count = np.add.reduceat(self.count, starts, axis=1)
        nonfinite = np.add.reduceat(self.nonfinite, starts, axis=1)
        num_finite = self.count - self.nonfinite
        firsts = np.take_along_axis(self.first, first, 1)
        with np.errstate(invalid="ignore", over="ignore"):
            total = np.add.reduceat(np.where(num_finite > 0, self.mean * num_finite, 0.0), starts, axis=1)
            return Cells(
                edge=self.edge[starts] // width * width,
                first_step=np.take_along_axis(self.first_step, first, 1),
                last_step=np.take_along_axis(self.last_step, last, 1),
                count=count,
                nonfinite=nonfinite,
                minimum=np.fmin.reduceat(np.where(told, self.minimum, np.nan), starts, axis=1),
                maximum=np.fmax.reduceat(np.where(told, self.maximum, np.nan), starts, axis=1),
                mean=_mean(total, count - nonfinite, count, firsts),
                first=firsts,
                last=np.take_along_axis(self.last, last, 1),
            )

    def _at(self, edge: IntArray) -> "Cells":
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Cells(**{**fields, "edge": edge})

    def chosen(self, columns: Sequence[int]) -> "Cells":
        """Some of the columns."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "edge"}
        return Cells(edge=self.edge, **{name: value[columns] for name, value in fields.items()})

    def between(self, start: int, stop: int) -> "Cells":
        """The cells with start <= edge < stop."""
        begin, end = np.searchsorted(self.edge, (start, stop), "left").tolist()
        return self if begin == 0 and end == len(self.edge) else self._cut(slice(begin, end))

    def first_ones(self, count: int) -> "Cells":
        """The first `count` cells."""
        return self._cut(slice(count))

    def _cut(self, here: slice) -> "Cells":
        return Cells(**{name: getattr(self, name)[..., here] for name in self.__dataclass_fields__})

    def series(self, column: str, row: int, width: int) -> SeriesBuckets:
        """One column as readers get it: the cells in which it has a value."""
        told = self.count[row] > 0
        fields = {
            name: getattr(self, name)[row][told] for name in self.__dataclass_fields__ if name != "edge"
        }
        return SeriesBuckets(column=column, bucket_width=width, **fields)


def widened(values: ValueArray) -> FloatArray:
    """The values as float64; a signalling NaN becomes a quiet one without a word."""
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64, copy=False)


def _starts(cell: IntArray) -> IntArray:
    """Positions at which another cell begins, for cells in rising order."""
    return np.flatnonzero(np.diff(cell, prepend=cell[0] - 1)).astype(np.int64)


def _mean(total: FloatArray, num_finite: IntArray, count: IntArray, first: FloatArray) -> FloatArray:
    mean = np.where(num_finite > 0, total / np.maximum(num_finite, 1), np.nan)
    return np.where(count == 1, first, mean)

"""Wide Parquet read column by column: a recorded run has hundreds of series, most of its cells filled."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np

from foreshock.exchange.errors import MissingLibraryError, SourceError
from foreshock.exchange.names import Naming
from foreshock.exchange.rows import LATEST_TIME
from foreshock.exchange.sources.table import Columns as TableColumns
from foreshock.exchange.sources.table import not_a_number
from foreshock.server.detection.block import Block
from foreshock.server.detection.context import Columns, columns_of
from foreshock.server.detection.sample import FloatArray, StepArray
from foreshock.server.replay.gathering import BLOCK_STEPS, Part
from foreshock.wire.records import MAX_STEP


@dataclass(frozen=True, slots=True)
class ParquetTrace:
    """A Parquet file whose steps rise within each attempt; null is no value, NaN is one.

    steps, attempts [rows]; `series` are the places of series in the file, in the order of `columns`.
    """

    path: Path
    steps: StepArray
    attempts: StepArray
    table: TableColumns
    columns: Columns
    series: tuple[int, ...]

    @classmethod
    def of(cls, path: Path, naming: Naming) -> Self | None:
        """The file, or None where it must be read row by row: its steps do not rise, or it has ranks.

        What is wrong with a step or a time is told by that reading too, with the number of its row. Raises
        SourceError where attempts are numbered and steps do not rise in each.
        """
        pyarrow, parquet = libraries()
        try:
            with parquet.ParquetFile(path) as file:
                # A recorded run numbers its attempts in a column that is no series
                names = [name for name in file.schema_arrow.names if name != "attempt"]
                table = TableColumns.of(names, naming)
                axes = [table.theirs[table.step]]
                if table.time is not None:
                    axes.append(table.theirs[table.time])
                if "attempt" in file.schema_arrow.names:
                    axes.append("attempt")
                found = file.read(axes)
        except (pyarrow.ArrowException, OSError) as error:
            raise SourceError(path, f"no readable Parquet file: {error}") from error
        except ValueError as error:
            raise SourceError(path, str(error)) from error
        if table.rank is not None or not all(_is_plain(column) for column in found.columns):
            return None
        axes_read = [column.to_numpy() for column in found.columns]
        if not (_are_whole(axes_read[0]) and (table.time is None or _are_seconds(axes_read[1]))):
            return None
        steps = axes_read[0].astype(np.int64)
        attempts = np.zeros_like(steps)
        if "attempt" in found.column_names:
            if not _are_whole(axes_read[-1]):
                raise SourceError(path, "the column 'attempt' holds other than whole numbers from 0 on")
            attempts = axes_read[-1].astype(np.int64)
        rises = np.where(np.diff(attempts) == 0, np.diff(steps) > 0, np.diff(attempts) > 0)
        if not rises.all():
            if "attempt" not in found.column_names:
                return None
            row = int(np.argmin(rises)) + 2
            message = (
                f"row {row}: the steps of an attempt do not rise; sort the rows by attempt, then by step"
            )
            raise SourceError(path, message)
        columns = columns_of(tuple(name for _, name in table.series))
        place_of = {name: place for place, name in table.series}
        return cls(path, steps, attempts, table, columns, tuple(place_of[name] for name in columns.names))

    def parts(self) -> Iterator[Part]:
        """Blocks of at most BLOCK_STEPS steps, each with the number of its attempt."""
        pyarrow, parquet = libraries()
        names = [self.table.theirs[place] for place in self.series]
        times = () if self.table.time is None else (self.table.theirs[self.table.time],)
        try:
            with parquet.ParquetFile(self.path) as file:
                start = 0
                for batch in file.iter_batches(BLOCK_STEPS, columns=[*names, *times]):
                    yield from self._parts(batch, names, times, start)
                    start += batch.num_rows
        except (pyarrow.ArrowException, OSError) as error:
            raise SourceError(self.path, f"no readable Parquet file: {error}") from error

    def _parts(self, batch: Any, names: Sequence[str], times: Sequence[str], start: int) -> Iterator[Part]:
        shape = (batch.num_rows, len(names))
        values, present = np.empty(shape, order="F"), np.ones(shape, np.bool_, order="F")
        for place, name in enumerate(names):
            column = batch.column(name)
            values[:, place] = self._floats(name, column)
            if column.null_count:
                present[:, place] = column.is_valid().to_numpy(zero_copy_only=False)
        own_times = self._floats(times[0], batch.column(times[0])) if times else np.zeros(batch.num_rows)
        # A step of which nothing was told is none, here as in the other formats
        told = present.any(axis=1)
        rows = start + np.flatnonzero(told)
        if not len(rows):
            return
        if not told.all():
            own_times, values, present = own_times[told], values[told], present[told]
        block = Block(self.steps[rows], own_times, self.columns, values, present)
        attempts = self.attempts[rows]
        edges = [0, *(np.flatnonzero(np.diff(attempts)) + 1).tolist(), len(rows)]
        for first, end in pairwise(edges):
            yield int(attempts[first]), block.part(first, end)

    def _floats(self, name: str, column: Any) -> FloatArray:
        """A column as float64, NaN where it is null."""
        from pyarrow import types

        kind = column.type
        if types.is_boolean(kind) or types.is_decimal(kind) or types.is_integer(kind):
            column = column.cast("float64", safe=False)
        elif not (types.is_floating(kind) or types.is_null(kind)):
            cell = next((cell.as_py() for cell in column if cell.is_valid), None)
            raise SourceError(self.path, not_a_number(name, cell))
        return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _is_plain(column: Any) -> bool:
    """Whether an axis needs no reading of its own: whole numbers, or seconds as float64, none missing."""
    from pyarrow import types

    kind = column.type
    return bool(column.null_count == 0 and (types.is_integer(kind) or types.is_floating(kind)))


def _are_whole(values: Any) -> bool:
    """Whether all are whole numbers that may be a step."""
    finite = np.isfinite(values).all()
    return bool(finite and ((values >= 0) & (values <= MAX_STEP) & (values == np.floor(values))).all())


def _are_seconds(values: Any) -> bool:
    """Whether all are times; NaN is none."""
    return bool(((values >= 0) & (values <= LATEST_TIME)).all())


def libraries() -> tuple[Any, Any]:
    """pyarrow and its reader of Parquet; raises MissingLibraryError where they are not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingLibraryError("reading Parquet", "pyarrow", "exchange") from error
    return pyarrow, parquet

"""Runs as CSV: an empty cell is no value; NaN, inf and -inf are values."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any, BinaryIO

import numpy as np

from foreshock.exchange.merging import Part
from foreshock.exchange.tables.spelling import spell, spell_times
from foreshock.wire import is_missing


class CsvTable:
    """Writes a header, then a row for each rank and step."""

    def __init__(self, file: BinaryIO, columns: Sequence[str]) -> None:
        self._file = file
        self._append([["rank", "step", "time", *columns]])

    def write(self, part: Part) -> None:
        """Appends the rows."""
        cells_KC = spell(part.values_KC)
        cells_KC[np.isnan(part.values_KC)] = "NaN"
        cells_KC[is_missing(part.values_KC)] = ""
        axes = zip(part.steps.tolist(), spell_times(part.times), strict=True)
        self._append(
            [part.rank, step, time, *cells]
            for (step, time), cells in zip(axes, cells_KC.tolist(), strict=True)
        )

    def close(self) -> None:
        """Nothing is held; the file stays open."""

    def _append(self, rows: Iterable[list[Any]]) -> None:
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode())

"""Runs as CSV: an empty cell is no value; NaN, inf and -inf are values."""

import csv
from collections.abc import Sequence
from io import TextIOWrapper
from typing import BinaryIO

import numpy as np

from foreshock.exchange.merging import Part
from foreshock.exchange.tables.spelling import spell, spell_times
from foreshock.wire import is_missing


class CsvTable:
    """Writes a header, then a row for each rank and step."""

    def __init__(self, file: BinaryIO, columns: Sequence[str]) -> None:
        self._text = TextIOWrapper(file, "utf-8", newline="", write_through=False)
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._writer.writerow(["rank", "step", "time", *columns])

    def write(self, part: Part) -> None:
        """Appends the rows."""
        cells_KC = spell(part.values_KC)
        cells_KC[np.isnan(part.values_KC)] = "NaN"
        cells_KC[is_missing(part.values_KC)] = ""
        axes = zip(part.steps.tolist(), spell_times(part.times), strict=True)
        self._writer.writerows(
            [part.rank, step, time, *cells]
            for (step, time), cells in zip(axes, cells_KC.tolist(), strict=True)
        )

    def close(self) -> None:
        """Writes what is still held; the file stays open."""
        self._text.detach()

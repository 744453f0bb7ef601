"""The forms that a run is written in."""

from collections.abc import Sequence
from typing import BinaryIO, Final, Protocol

from foreshock.exchange.merging import Part
from foreshock.exchange.tables.csv import CsvTable
from foreshock.exchange.tables.jsonl import JsonlTable
from foreshock.exchange.tables.parquet import ParquetTable

FORMATS: Final = ("parquet", "csv", "jsonl")


class Table(Protocol):
    """A table that is being written."""

    def write(self, part: Part) -> None:
        """Appends rows: values float32 [k, columns] in the order of the table's columns."""

    def close(self) -> None:
        """Ends the table, not the file."""


def open_table(form: str, file: BinaryIO, columns: Sequence[str]) -> Table:
    """Begins a table of one of FORMATS."""
    match form:
        case "csv":
            return CsvTable(file, columns)
        case "jsonl":
            return JsonlTable(file, columns)
    return ParquetTable(file, columns)

"""Parquet: the same table as CSV, with types; read a bounded number of rows at a time."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from foreshock.exchange.errors import MissingLibraryError, SourceError
from foreshock.exchange.names import Naming
from foreshock.exchange.rows import Facts, Row
from foreshock.exchange.sources.jsonl import as_float
from foreshock.exchange.sources.table import Columns

_ROWS_AT_A_TIME: Final = 16_384


class ParquetSource:
    """A Parquet file; null is no value, NaN is one."""

    kind = "parquet"

    def __init__(self, path: Path, naming: Naming) -> None:
        self.facts = Facts(path.stem)
        self._path, self._naming = path, naming

    def rows(self) -> Iterator[Row]:
        """Every row, in the order of the file."""
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise MissingLibraryError("reading Parquet", "pyarrow", "exchange") from error
        num_read = 0
        try:
            with parquet.ParquetFile(self._path) as file:
                columns = Columns.of(file.schema_arrow.names, self._naming)
                for batch in file.iter_batches(_ROWS_AT_A_TIME):
                    lists = [column.to_pylist() for column in batch.columns]
                    for cells in zip(*lists, strict=True):
                        num_read += 1
                        yield columns.row(cells, _number)
        except (pyarrow.ArrowException, OSError) as error:
            raise SourceError(self._path, f"no readable Parquet file: {error}") from error
        except ValueError as error:
            where = f"row {num_read}: " if num_read else ""
            raise SourceError(self._path, f"{where}{error}") from error


def _number(cell: Any) -> float | None:
    match cell:
        case None | float():
            return cell
        case int():
            return as_float(cell)
        case Decimal():
            return float(cell)
    raise ValueError(cell)

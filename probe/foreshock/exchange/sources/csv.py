"""CSV: a header with `step`, perhaps `time` and `rank`, and a column for each series."""

import csv
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from foreshock.exchange.errors import SourceError
from foreshock.exchange.names import Naming
from foreshock.exchange.rows import Facts, Row
from foreshock.exchange.sources.table import Columns
from foreshock.exchange.text import read_lines


class CsvSource:
    """A CSV file, plain or gzip; an empty cell is no value, `NaN` is one."""

    kind = "csv"

    def __init__(self, path: Path, naming: Naming) -> None:
        self.facts = Facts(path.name.removesuffix(".gz").removesuffix(".csv"))
        self._path, self._naming = path, naming

    def rows(self) -> Iterator[Row]:
        """Every row, in the order of the file."""
        with closing(read_lines(self._path)) as lines:
            yield from self._rows(lines)

    def _rows(self, lines: Iterable[str]) -> Iterator[Row]:
        reader = csv.reader(lines, strict=True)
        try:
            header = next(reader, None)
            if header is None:
                raise SourceError(self._path, "the file is empty: a header with 'step' is expected")
            columns = Columns.of([name.strip() for name in header], self._naming)
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise ValueError(f"{len(cells)} cells under a header of {len(header)} columns")
                yield columns.row(cells, _number)
        except (csv.Error, ValueError) as error:
            raise SourceError(self._path, str(error), max(1, reader.line_num)) from error


def _number(cell: str) -> float | None:
    if "_" in cell:
        raise ValueError(cell)
    return float(cell) if cell and not cell.isspace() else None

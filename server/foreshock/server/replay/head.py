"""What the head of a table tells before anything is judged: its columns, and which of them hold words."""

import csv
import json
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from foreshock.exchange.errors import SourceError
from foreshock.exchange.text import read_lines
from foreshock.server.replay.parquet import libraries
from foreshock.wire import UnknownSignalError, parse_column
from foreshock.wire.records import MAX_COLUMNS

_NUMBERS: Final = ("step", "time", "rank", "wall_time")


def csv_head(path: Path) -> dict[str, Any]:
    """A CSV file's columns with their first cells; raises SourceError where it names too many."""
    with closing(read_lines(path)) as lines:
        reader = csv.reader(lines)
        try:
            names = [name.strip() for name in next(reader, [])]
            cells = next(reader, [])
        except csv.Error as error:
            raise SourceError(path, str(error), max(1, reader.line_num)) from error
    if len(names) > MAX_COLUMNS:
        raise SourceError(path, f"names {len(names)} columns; at most {MAX_COLUMNS} are allowed", 1)
    return dict(zip(names, cells + [""] * len(names), strict=False))


def jsonl_head(path: Path) -> dict[str, Any]:
    """The first object of a file of JSON lines; empty where there is none."""
    with closing(read_lines(path)) as lines:
        try:
            first = json.loads(next((line for line in lines if not line.isspace()), "{}"))
        except (ValueError, RecursionError):
            return {}  # told with its line when it is read
    return first if isinstance(first, dict) else {}


def parquet_head(path: Path) -> dict[str, Any]:
    """A Parquet file's columns, with words for those of text; raises SourceError where it has too many."""
    pyarrow, parquet = libraries()
    try:
        schema = parquet.read_schema(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise SourceError(path, f"no readable Parquet file: {error}") from error
    if len(schema.names) > MAX_COLUMNS:
        raise SourceError(path, f"holds {len(schema.names)} columns; at most {MAX_COLUMNS} are allowed")
    texts = (pyarrow.string(), pyarrow.large_string())
    return {field.name: "words" if field.type in texts else 0.0 for field in schema}


def text_columns(head: dict[str, Any]) -> tuple[str, ...]:
    """The columns that are in no catalogue and begin with words: names, modes, notes. They hold no series."""
    return tuple(
        name
        for name, cell in head.items()
        if isinstance(cell, str) and cell.strip() and not _is_number(cell) and not _is_known(name)
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_known(name: str) -> bool:
    if name in _NUMBERS:
        return True
    try:
        return parse_column(name).signal is not None
    except UnknownSignalError:
        return False

"""trackio's databases: SQLite files with a table of metrics as JSON, one project a file.

Read with Python's own SQLite, as they are: trackio's library would first bring the file to its own version.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from foreshock.exchange.errors import SourceError
from foreshock.exchange.names import Naming
from foreshock.exchange.rows import Facts, Row, seconds, whole_number
from foreshock.exchange.sources.scalars import scalars_of

MAGIC: Final = b"SQLite format 3\0"


class TrackioSource:
    """One run of a project's database.

    It is known by `run` in the column `key`: its id, or its name in old files.
    """

    kind = "trackio"

    def __init__(self, path: Path, key: str, run: str, name: str, naming: Naming) -> None:
        self.facts = Facts(name, project=path.stem)
        self._path, self._key, self._run, self._naming = path, key, run, naming

    def rows(self) -> Iterator[Row]:
        """Every row of the run's metrics, in the order in which they were logged."""
        left_out: dict[str, None] = {}
        query = f"SELECT id, step, timestamp, metrics FROM metrics WHERE {self._key} = ? ORDER BY id"
        for number, step, when, metrics in _select(self._path, query, self._run):
            try:
                told = json.loads(metrics)
                values = scalars_of(told, self._naming, left_out)
                yield Row(0, whole_number(step, "step"), seconds(when), values)
            except (AttributeError, TypeError, ValueError) as error:
                raise SourceError(self._path, f"row {number} of the table metrics: {error}") from error
        self.facts.left_out = list(left_out)
        self._describe()

    def _describe(self) -> None:
        if not _columns(self._path, "configs"):
            return
        for (text,) in _select(self._path, f"SELECT config FROM configs WHERE {self._key} = ?", self._run):
            config = json.loads(text)
            self.facts.group = config.get("_Group") or None
            self.facts.config = {key: value for key, value in config.items() if not key.startswith("_")}


def trackio_sources(path: Path, naming_of: Callable[[], Naming]) -> list[tuple[TrackioSource, Naming]]:
    """The runs of a database, in the order of their first rows; raises SourceError for another kind."""
    columns = _columns(path, "metrics")
    if not {"run_name", "step", "timestamp", "metrics"} <= columns:
        raise SourceError(path, "no database of trackio: it has no table of metrics by run and step")
    key = "run_id" if "run_id" in columns else "run_name"
    query = f"SELECT {key}, run_name FROM metrics GROUP BY {key} ORDER BY min(id)"
    found = []
    for run, name in _select(path, query):
        naming = naming_of()
        found.append((TrackioSource(path, key, run, name, naming), naming))
    return found


def _columns(path: Path, table: str) -> set[str]:
    return {name for (name,) in _select(path, "SELECT name FROM pragma_table_info(?)", table)}


def _mode(path: Path) -> str:
    """Where no writer has left a log beside the file, SQLite need not lay one there to read it."""
    return "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"


def _select(path: Path, query: str, *values: str) -> Iterator[tuple[Any, ...]]:
    connection = None
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{_mode(path)}", uri=True)
        yield from connection.execute(query, values)
    except sqlite3.Error as error:
        raise SourceError(path, f"cannot be read as an SQLite database: {error}") from error
    finally:
        if connection is not None:
            connection.close()

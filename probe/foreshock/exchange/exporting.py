"""One export: a run's frames read page by page and set aside, then joined into one table by rank and step."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from foreshock.exchange.errors import ExchangeError
from foreshock.exchange.merging import Part, Staged, merge
from foreshock.exchange.names import AXES
from foreshock.exchange.staging import Block, Staging
from foreshock.exchange.tables import open_table
from foreshock.query.frames import Frames

_PREFIX = "series:"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. `notes` say what is spelt differently from the run."""

    run_id: str
    attempt: int
    form: str
    out: str
    rows: int
    values: int
    columns: int
    ranks: int
    bytes: int
    notes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """One line for people."""
        of = f"run {self.run_id}, attempt {self.attempt}"
        return f"{self.out}: {self.rows} rows, {self.columns} series, {self.values} values of {of}"

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


class Shelf:
    """Frames set aside by rank and stream, in the order in which they come."""

    def __init__(self, staging: Staging) -> None:
        self.columns: dict[str, int] = {}
        self.attempt = 0
        self._staging = staging
        self._streams: dict[int, dict[tuple[int, tuple[str, ...]], Staged]] = {}

    def put(self, frames: Frames) -> None:
        """Takes the next block; steps of one rank, layout and set of columns rise."""
        self.attempt = frames.attempt
        for name in frames.columns:
            self.columns.setdefault(name, len(self.columns))
        of_rank = self._streams.setdefault(frames.rank, {})
        key = (frames.layout_id, frames.columns)
        if key not in of_rank:
            of_rank[key] = Staged(np.array([self.columns[name] for name in frames.columns], np.intp), [])
        block = Block(frames.steps, frames.times, frames.values.T)
        of_rank[key].blocks.append(self._staging.put(block))

    @property
    def num_ranks(self) -> int:
        """How many ranks have frames."""
        return len(self._streams)

    def parts(self) -> Iterator[Part]:
        """All rows, by rank, then by step."""
        for rank, streams in sorted(self._streams.items()):
            in_order = [streams[key] for key in sorted(streams)]
            yield from merge(rank, in_order, len(self.columns), self._staging.get)


def export_frames(
    frames: Iterator[Frames],
    run_id: str,
    form: str,
    out: Path | None,
    on_read: Callable[[int], None] = lambda num_values: None,
    on_written: Callable[[int], None] = lambda num_rows: None,
) -> Exported:
    """Writes a run as one table of `form` to a file, or to stdout where `out` is None.

    The file is whole or not there. Raises ExchangeError where nothing can be written.
    """
    with Staging() as staging:
        shelf, num_read = Shelf(staging), 0
        for one in frames:
            shelf.put(one)
            num_read += one.values.size
            on_read(num_read)
        if not shelf.columns:
            raise ExchangeError(f"run {run_id} has no values there: nothing is written")
        names, notes = _names(list(shelf.columns))
        num_rows = num_values = 0
        with _opened(out) as file:
            table = open_table(form, file, names)
            for part in shelf.parts():
                if len(part.steps):
                    table.write(part)
                num_rows += len(part.steps)
                num_values += part.num_values
                on_written(num_rows)
            table.close()
        return Exported(
            run_id=run_id,
            attempt=shelf.attempt,
            form=form,
            out="-" if out is None else str(out),
            rows=num_rows,
            values=num_values,
            columns=len(names),
            ranks=shelf.num_ranks,
            bytes=0 if out is None else out.stat().st_size,
            notes=tuple(notes),
        )


def _names(columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """The table's names: a series that is called like an axis is told apart from it."""
    clashes = [name for name in columns if name in AXES]
    names = [f"{_PREFIX}{name}" if name in AXES else name for name in columns]
    return names, [f"the series {name!r} is written as {_PREFIX}{name}" for name in clashes]


@contextmanager
def _opened(out: Path | None) -> Iterator[BinaryIO]:
    """A file that takes its name when all has been written; stdout for None."""
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    try:
        number, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    except OSError as error:
        raise ExchangeError(f"{out} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, out)
    except OSError as error:
        raise ExchangeError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        Path(name).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""JSON lines: one object a line with `step`, perhaps `time` and `rank`, and series."""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from foreshock.exchange.errors import SourceError
from foreshock.exchange.names import AXES, Naming
from foreshock.exchange.rows import Facts, Row, seconds, whole_number
from foreshock.exchange.sources.table import MAX_RANK, not_a_number
from foreshock.exchange.text import read_lines

_NONFINITE = {"nan", "inf", "infinity"}


class _Pairs(list[tuple[str, Any]]):
    """An object's members as they stand, so that one that is there twice is seen."""


class JsonlSource:
    """A file of JSON lines, plain or gzip; null is no value, NaN and Infinity are, bare or as strings."""

    kind = "jsonl"

    def __init__(self, path: Path, naming: Naming) -> None:
        self.facts = Facts(path.name.removesuffix(".gz").removesuffix(".jsonl"))
        self._path, self._naming = path, naming

    def rows(self) -> Iterator[Row]:
        """Every row, in the order of the file."""
        with closing(read_lines(self._path)) as lines:
            yield from self._rows(lines)

    def _rows(self, lines: Iterable[str]) -> Iterator[Row]:
        is_empty = True
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            is_empty = False
            try:
                yield self._row(json.loads(line, object_pairs_hook=_Pairs))
            except json.JSONDecodeError as error:
                message = f"no JSON: {error.msg} at column {error.colno}"
                raise SourceError(self._path, message, number) from error
            except (ValueError, RecursionError) as error:
                raise SourceError(self._path, str(error), number) from error
        if is_empty:
            raise SourceError(self._path, "the file is empty: a JSON object a line is expected")

    def _row(self, members: Any) -> Row:
        if not isinstance(members, _Pairs):
            raise ValueError('no JSON object: each line must be one, such as {"step": 0, "loss": 2.3}')
        axes: dict[str, Any] = {}
        values: dict[str, float] = {}
        seen: set[str] = set()
        for theirs, value in members:
            if theirs in seen:
                raise ValueError(f"{theirs!r} is there twice")
            seen.add(theirs)
            ours = self._naming.column(theirs)
            if ours is None or value is None:
                continue
            if ours in AXES:
                axes[ours] = value
            else:
                values[ours] = _number(theirs, value)
        if "step" not in axes:
            raise ValueError("there is no 'step': every line needs one; name it with --map THEIRS=step")
        rank = whole_number(axes.get("rank", 0), "rank", MAX_RANK)
        return Row(rank, whole_number(axes["step"], "step"), seconds(axes.get("time", 0.0)), values)


def _number(theirs: str, value: Any) -> float:
    match value:
        case float():
            return value
        case int():
            return as_float(value)
        case str() if value.strip().lstrip("+-").lower() in _NONFINITE:
            return float(value)
    raise ValueError(not_a_number(theirs, dict(value) if isinstance(value, _Pairs) else value))


def as_float(value: int) -> float:
    """A whole number as float64, infinite where it is beyond."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")

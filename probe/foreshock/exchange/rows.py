"""What every source gives: rows of numbers in the order of the file, and what it knows of its run."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from foreshock.wire.records import MAX_STEP

# A collector takes no time beyond this (the year 5138); milliseconds are caught by it
LATEST_TIME = 1e11


class Row(NamedTuple):
    """Values of some series at one step of one rank; `time` is seconds since the epoch, 0 where unknown."""

    rank: int
    step: int
    time: float
    values: dict[str, float]


@dataclass(slots=True)
class Facts:
    """What a source says of its run besides numbers; options of the command beat it.

    `left_out` names what holds no numbers and was passed over, `end` what became of the run.
    """

    name: str
    project: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    has_crashed: bool = False


class Source(Protocol):
    """One run as it lies in a file. `facts` are whole once all rows have been read."""

    kind: str
    facts: Facts

    def rows(self) -> Iterator[Row]:
        """Every row, in the order of the file; raises SourceError at the first that cannot be read."""


def whole_number(value: Any, what: str, most: int = MAX_STEP) -> int:
    """A step or a rank, from text or any number that is whole; raises ValueError that says why not."""
    try:
        number = int(value) if isinstance(value, str) and "_" not in value else value
    except ValueError:
        number = value
    if isinstance(number, str):
        try:
            number = float(number)
        except ValueError:
            raise ValueError(f"{what} is {value[:40]!r}, which is no whole number") from None
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(f"{what} is {value!r}, which is no whole number")
    if not 0 <= number <= most:
        raise ValueError(f"{what} is {number}; 0 to {most} are allowed")
    return number


def seconds(value: Any) -> float:
    """Seconds since the epoch, from a number or an ISO 8601 text (UTC where it names no zone).

    Raises ValueError that says why not.
    """
    try:
        time = float(value)
    except (TypeError, ValueError):
        time = _from_calendar(value)
    if not 0 <= time <= LATEST_TIME:
        raise ValueError(f"time is {value!r}; give seconds since the epoch, or such as 2026-01-31T12:00:00Z")
    return time


def _from_calendar(value: Any) -> float:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

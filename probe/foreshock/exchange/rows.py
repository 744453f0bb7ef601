"""What every source gives: rows of numbers in the order of the file, and what it knows of its run."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, Protocol

from foreshock.wire.records import MAX_STEP

# A collector takes no time beyond this (the year 5138); milliseconds are caught by it
LATEST_TIME = 1e11
_LONGEST_NUMBER = 40
_FAR = 10**_LONGEST_NUMBER


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
    number = _whole(value)
    if number is None:
        raise ValueError(f"{what} is {_shown(value)}, which is no whole number")
    if not 0 <= number <= most:
        raise ValueError(f"{what} is {_shown(number)}; 0 to {most} are allowed")
    return number


def _whole(value: Any) -> int | None:
    """The whole number that it is, None where it is none; text is read digit by digit, never rounded."""
    if isinstance(value, str):
        # Python's own spellings of numbers are not a file's
        if "_" in value or len(value) > _LONGEST_NUMBER:
            return None
        try:
            value = Decimal(value.strip())
        except InvalidOperation:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    is_finite = value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)
    # Few characters can tell of a number whose digits would fill the memory
    return int(value) if is_finite and -_FAR < value < _FAR and value == int(value) else None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_NUMBER else f"{text[:_LONGEST_NUMBER]}.."


def seconds(value: Any) -> float:
    """Seconds since the epoch, from a number or an ISO 8601 text (UTC where it names no zone).

    Raises ValueError that says why not.
    """
    try:
        time = float(value)
    except (TypeError, ValueError):
        time = _from_calendar(value)
    if not 0 <= time <= LATEST_TIME:
        raise ValueError(
            f"time is {_shown(value)}; give seconds since the epoch, or such as 2026-01-31T12:00:00Z"
        )
    return time


def _from_calendar(value: Any) -> float:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

"""What is wrong with a rules file, each thing with its place."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from foreshock.server.errors import ServerError


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line and a column, both from 1."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong: where, and what was given, what is allowed, what to do."""

    place: Place
    words: str

    def told(self, file: str) -> str:
        """As compilers say it: `rules.yaml:12:5: words`."""
        return f"{file}:{self.place.line}:{self.place.column}: {self.words}"


@dataclass(slots=True)
class Problems:
    """Collects all that is wrong, so that a file is mended once and not line by line."""

    found: list[Problem] = field(default_factory=list)

    def add(self, place: Place, words: str) -> None:
        """Notes one problem."""
        self.found.append(Problem(place, words))

    def in_order(self) -> tuple[Problem, ...]:
        """From the first line to the last, each once."""
        return tuple(sorted(set(self.found)))


class RulesFileError(ServerError):
    """Raised when a rules file cannot be read or is not valid; `problems` names everything."""

    code, title = "invalid-rules", "The rules file is not valid"

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        first = self.problems[0].told(file)
        others = len(self.problems) - 1
        more = "" if not others else f" (and {others} more: foreshock rules check {file} tells them all)"
        super().__init__(first + more)


def near(given: str, known: Iterable[str]) -> str:
    """` (did you mean a or b?)`, or nothing where nothing is near."""
    close = difflib.get_close_matches(given[:120], list(known), n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(close)}?)" if close else ""

"""Regular expressions that strangers may write: matched in time that grows with pattern times value.

A pattern becomes an automaton of which all states are followed at once (Thompson, 1968), so there is
nothing to go back to and no pattern that takes for ever. There is no back-reference and no look-around.

Known are literals, `.` (anything), `[a-z0-9_]` and `[^..]`, `\\d \\w \\s` and their opposites (ASCII), `|`,
groups, and `* + ? {2} {2,} {2,5}`. A pattern is held against the whole value.
"""

import string
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from foreshock.server.errors import InvalidError

MAX_PATTERN: Final = 200
MAX_STATES: Final = 500
MAX_DEPTH: Final = 20
MAX_REPEAT: Final = 100
_WORD: Final = frozenset(string.ascii_letters + string.digits + "_")
_SHORTHAND: Final = {"d": frozenset(string.digits), "w": _WORD, "s": frozenset(" \t\n\r\f\v")}
_ESCAPED: Final = {"t": "\t", "n": "\n"}


@dataclass(frozen=True, slots=True)
class _Chars:
    """One character: of these or within these ranges; or, negated, none of them."""

    singles: frozenset[str] = frozenset()
    ranges: tuple[tuple[str, str], ...] = ()
    negated: bool = False

    def takes(self, char: str) -> bool:
        known = char in self.singles or any(low <= char <= high for low, high in self.ranges)
        return known != self.negated


@dataclass(frozen=True, slots=True)
class _Choice:
    branches: tuple["_Sequence", ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    """`low` to `high` times, None: without an end."""

    node: "_Node"
    low: int
    high: int | None


_Node = _Chars | _Choice | _Repeat
_Sequence = tuple[_Node, ...]


@dataclass(slots=True)
class _Parser:
    text: str
    place: int = 0
    depth: int = 0

    def parse(self) -> _Choice:
        found = self._choice()
        if self.place < len(self.text):
            raise self._error("this closes a group that was never opened")
        return found

    def _choice(self) -> _Choice:
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        return _Choice(tuple(branches))

    def _sequence(self) -> _Sequence:
        nodes: list[_Node] = []
        while self.place < len(self.text) and self.text[self.place] not in "|)":
            node = self._atom()
            bounds = self._bounds()
            nodes.append(node if bounds is None else _Repeat(node, *bounds))
        return tuple(nodes)

    def _atom(self) -> _Node:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        if char == ".":
            return _Chars(negated=True)
        if char == "\\":
            return self._escape()
        if char in "*+?{":
            raise self._error(f"there is nothing before {char!r} to repeat")
        if char in "^$":
            raise self._error(
                f"a pattern is always held against the whole value: leave {char!r} out, or write \\{char}"
            )
        return _Chars(frozenset(char))

    def _group(self) -> _Choice:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(f"groups may be {MAX_DEPTH} deep")
        if self._take("?") and not self._take(":"):
            raise self._error("of the groups that begin with (? only (?: is known")
        found = self._choice()
        if not self._take(")"):
            raise self._error("a group is not closed")
        self.depth -= 1
        return found

    def _class(self) -> _Chars:
        negated = self._take("^")
        singles: set[str] = set()
        ranges: list[tuple[str, str]] = []
        is_first = True
        while is_first or not self._take("]"):
            is_first = False
            low = self._member()
            if len(low) != 1:
                singles |= set(low)
            elif self.text[self.place : self.place + 1] == "-" and self.text[self.place + 1 :][:1] not in "]":
                self.place += 1
                high = self._member()
                if len(high) != 1 or high < low:
                    raise self._error(f"{low}-{high} is no range")
                ranges.append((low, high))
            else:
                singles.add(low)
        return _Chars(frozenset(singles), tuple(ranges), negated)

    def _member(self) -> str:
        """One character of a class, or all of a shorthand."""
        char = self._next()
        if char != "\\":
            return char
        chars = self._escape()
        if chars.negated:
            raise self._error("in a class write [^..] in the place of \\D, \\W and \\S")
        return "".join(chars.singles)

    def _escape(self) -> _Chars:
        char = self._next()
        if char.lower() in _SHORTHAND:
            return _Chars(_SHORTHAND[char.lower()], negated=char.isupper())
        if char in _WORD and char not in _ESCAPED:
            raise self._error(f"\\{char} is not known")
        return _Chars(frozenset(_ESCAPED.get(char, char)))

    def _bounds(self) -> tuple[int, int | None] | None:
        """How often the last atom stands, None where nothing is said."""
        found: tuple[int, int | None] | None = None
        for char, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(char):
                found = bounds
                break
        else:
            if self._take("{"):
                found = self._counts()
        if found is not None:
            self._take("?")  # the shortest match first: the same where the whole value must match
        return found

    def _counts(self) -> tuple[int, int | None]:
        inside, closed, _ = self.text[self.place :].partition("}")
        low, comma, high = inside.partition(",")
        is_known = low.isdecimal() and (high.isdecimal() if high else True)
        if not closed or not is_known:
            raise self._error("give {2}, {2,} or {2,5}")
        self.place += len(inside) + 1
        least = int(low[:9])
        most = (int(high[:9]) if high else None) if comma else least
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            raise self._error(f"{{{inside}}} must rise, to {MAX_REPEAT} at most")
        return least, most

    def _next(self) -> str:
        if self.place >= len(self.text):
            raise self._error("something is missing at the end")
        self.place += 1
        return self.text[self.place - 1]

    def _take(self, char: str) -> bool:
        if self.text[self.place : self.place + 1] != char:
            return False
        self.place += 1
        return True

    def _error(self, what: str) -> InvalidError:
        return InvalidError(f"the pattern {self.text!r} cannot be read at character {self.place}: {what}")


@dataclass(slots=True)
class _Automaton:
    """States: what takes a character and leads to one state, or None and leads to several at once."""

    states: list[tuple[_Chars | None, tuple[int, ...]]] = field(default_factory=lambda: [(None, ())])
    work: int = 0

    def add(self, chars: _Chars | None, *after: int) -> int:
        self.states.append((chars, after))
        return len(self.states) - 1

    def build(self, node: _Node, after: int) -> int:
        """The state where a node begins that leads to `after`."""
        self.work += 1
        if len(self.states) > MAX_STATES or self.work > 10 * MAX_STATES:
            raise InvalidError(f"the pattern is too large: it has more than {MAX_STATES} states; repeat less")
        match node:
            case _Chars():
                return self.add(node, after)
            case _Choice():
                return self.add(None, *(self._sequence(branch, after) for branch in node.branches))
            case _Repeat():
                return self._repeat(node, after)

    def _sequence(self, nodes: _Sequence, after: int) -> int:
        for node in reversed(nodes):
            after = self.build(node, after)
        return after

    def _repeat(self, repeat: _Repeat, after: int) -> int:
        if repeat.high is None:
            loop = self.add(None)
            self.states[loop] = (None, (self.build(repeat.node, loop), after))
            begin = loop
        else:
            begin = after
            for _ in range(repeat.high - repeat.low):
                begin = self.add(None, self.build(repeat.node, begin), after)
        for _ in range(repeat.low):
            begin = self.build(repeat.node, begin)
        return begin

    def reach(self, states: set[int]) -> set[int]:
        """All states that are reached without a character."""
        seen, waiting = set(states), list(states)
        while waiting:
            chars, after = self.states[waiting.pop()]
            if chars is None:
                waiting += [one for one in after if one not in seen]
                seen |= set(after)
        return seen


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that was read; `fits` says whether a whole value does."""

    automaton: _Automaton
    begin: int

    def fits(self, value: str) -> bool:
        """Whether the whole value matches."""
        now = self.automaton.reach({self.begin})
        for char in value:
            taken = (self.automaton.states[state] for state in now)
            now = self.automaton.reach({after[0] for chars, after in taken if chars and chars.takes(char)})
            if not now:
                return False
        return 0 in now


@lru_cache(maxsize=256)
def read_pattern(text: str) -> Pattern:
    """Reads a pattern; raises InvalidError with the place and what is wrong."""
    if len(text) > MAX_PATTERN:
        raise InvalidError(f"the pattern has {len(text)} characters: {MAX_PATTERN} are allowed")
    automaton = _Automaton()
    begin = automaton.build(_Parser(text).parse(), 0)
    return Pattern(automaton, begin)

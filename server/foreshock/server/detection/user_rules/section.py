"""Typed reading of a mapping: every value is asked for by its key, and what nobody asked for is told."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from foreshock.server.detection.user_rules.document import Items, Node, Table, Text
from foreshock.server.detection.user_rules.duration import Duration, parse_duration
from foreshock.server.detection.user_rules.problems import Place, Problems, near

T = TypeVar("T")

NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?")
# Control characters, and halves of pairs: what is no text to a database or a terminal
_ODD: Final = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\ud800-\udfff]")
_TRUTHS: Final = {
    **dict.fromkeys(("true", "on", "yes"), True),
    **dict.fromkeys(("false", "off", "no"), False),
}


@dataclass(frozen=True, slots=True)
class Amount:
    """A number, or a share where it was written in per cent (0.2 for `20%`)."""

    value: float
    is_share: bool

    def said(self) -> float | str:
        """As a rules file says it."""
        return f"{100 * self.value:.12g}%" if self.is_share else self.value


@dataclass(slots=True)
class Section:
    """One mapping of a rules file. A value that is wrong is noted and read as None, like one not there."""

    table: Table
    what: str
    problems: Problems
    _known: list[str] = field(default_factory=list)

    @property
    def place(self) -> Place:
        """Where it begins."""
        return self.table.place

    def node(self, key: str) -> Node | None:
        """The value of a key, None where it is not there or empty."""
        self._known.append(key)
        found = next((value for name, value in self.table.entries if name.text == key), None)
        if isinstance(found, Text) and not found.is_quoted and found.text in ("", "~", "null"):
            self.add(found.place, f"{key} of {self.what} is empty: give a value or leave it out")
            return None
        return found

    def has(self, key: str) -> bool:
        """Whether a key is there, whatever its value."""
        return any(name.text == key for name, _ in self.table.entries)

    def add(self, place: Place, words: str) -> None:
        """Notes a problem."""
        self.problems.add(place, words)

    def finish(self) -> None:
        """Tells keys that nobody asked for, and keys that stand twice."""
        seen: set[str] = set()
        for key, _ in self.table.entries:
            if key.text in seen:
                self.add(key.place, f"{key.text!r} stands twice in {self.what}: keep one")
            elif key.text not in self._known:
                allowed = ", ".join(self._known)
                hint = near(key.text, self._known)
                self.add(key.place, f"{key.text[:80]!r} is no key of {self.what}{hint}; there are {allowed}")
            seen.add(key.text)

    def word(self, key: str, most: int = 2000) -> str | None:
        """Text of at most so many characters."""
        node = self.node(key)
        if node is None:
            return None
        if not isinstance(node, Text):
            self.refuse(node, key, "text")
            return None
        if len(node.text) > most:
            self.refuse(node, key, f"text of at most {most} characters, and this has {len(node.text)}")
            return None
        if (odd := _ODD.search(node.text)) is not None:
            # Shown by its number: neither a terminal nor a database would take it
            self.add(
                node.place, f"{key} of {self.what} holds the character U+{ord(odd[0]):04X}: leave it out"
            )
            return None
        return " ".join(node.text.split())

    def words(self, key: str) -> tuple[Text, ...] | None:
        """One word or a list of words."""
        node = self.node(key)
        if node is None:
            return None
        items = node.items if isinstance(node, Items) else (node,)
        if not all(isinstance(item, Text) for item in items):
            self.refuse(node, key, "a word or a list of words")
            return None
        return tuple(item for item in items if isinstance(item, Text))

    def choice(self, key: str, allowed: Sequence[str]) -> str | None:
        """One of some words."""
        found = self.word(key)
        if found is None or found in allowed:
            return found
        node = self.node(key)
        assert node is not None
        hint = near(found, allowed)
        self.add(node.place, f"{key} of {self.what} is {found[:60]!r}{hint}; it may be {', '.join(allowed)}")
        return None

    def number(self, key: str) -> float | None:
        """A finite number."""
        return self._convert(key, "a number", read_number)

    def whole(self, key: str) -> int | None:
        """A whole number."""
        return self._convert(key, "a whole number", read_whole)

    def share(self, key: str) -> float | None:
        """A number, or a percentage as the share it is."""
        return self._convert(
            key, "a number, or a percentage such as 5%", lambda text: read_amount(text).value
        )

    def amount(self, key: str) -> Amount | None:
        """A number, or a percentage."""
        return self._convert(key, "a number, or a percentage such as 20%", read_amount)

    def truth(self, key: str) -> bool | None:
        """true or false, on or off."""
        return self._convert(key, "true or false", lambda text: _TRUTHS[text.lower()])

    def duration(self, key: str, *, in_seconds: bool = False) -> Duration | None:
        """A duration; in seconds only where that makes sense."""
        node = self.node(key)
        if node is None:
            return None
        if not isinstance(node, Text):
            self.refuse(node, key, "a duration such as 50 steps")
            return None
        try:
            found = parse_duration(node.text)
        except ValueError as error:
            self.add(node.place, f"{key} of {self.what}: {error}")
            return None
        if found.unit == "seconds" and not in_seconds:
            self.refuse(node, key, "counted in steps or in % of the run")
            return None
        return found

    def section(self, key: str, what: str) -> "Section | None":
        """The mapping of a key."""
        node = self.node(key)
        if node is None:
            return None
        if not isinstance(node, Table):
            self.refuse(node, key, "a mapping (key: value)")
            return None
        return Section(node, what, self.problems)

    def _convert(self, key: str, allowed: str, read: Callable[[str], T]) -> T | None:
        node = self.node(key)
        if node is None:
            return None
        # JSON, which is YAML too, can write a percentage in no other way
        if isinstance(node, Text) and (not node.is_quoted or node.text.endswith("%")):
            try:
                return read(node.text.strip())
            except (ValueError, KeyError):
                pass
        self.refuse(node, key, allowed)
        return None

    def refuse(self, node: Node, key: str, allowed: str) -> None:
        """Notes that a value is not what its key may have."""
        self.add(node.place, f"{key} of {self.what} must be {allowed}; given {shown(node)}")


def read_number(text: str) -> float:
    """A finite number; raises ValueError for anything else."""
    if NUMBER.fullmatch(text) is None or not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value


def read_whole(text: str) -> int:
    """A whole number of at most 15 digits; raises ValueError for anything else."""
    if re.fullmatch(r"[+-]?\d{1,15}", text) is None:
        raise ValueError(text)
    return int(text)


def read_amount(text: str) -> Amount:
    """A number or a percentage; raises ValueError for anything else."""
    if text.endswith("%"):
        return Amount(read_number(text[:-1].strip()) / 100, True)
    return Amount(read_number(text), False)


def shown(node: Node) -> str:
    """A value in an error's words."""
    if isinstance(node, Text):
        return repr(node.text if len(node.text) <= 60 else node.text[:60] + "..")
    return "a list" if isinstance(node, Items) else "a mapping"

"""The text of a rules file as a tree whose every part knows its line.

YAML can do more than a rules file needs, and what it can do beyond is refused: aliases and anchors (a
kilobyte of them can unfold to gigabytes), tags (which make objects), several documents, deep nesting.
Scalars stay text; what `off`, `1e-3` or `012` means is decided by whoever knows what belongs there.
"""

from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

import yaml

from foreshock.server.detection.user_rules.problems import Place, Problems

MAX_BYTES: Final = 256 * 2**10
MAX_DEPTH: Final = 8
# What YAML gives a plain or quoted scalar by itself; any other tag was written
_PLAIN_TAGS: Final = (None, "!")


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar as it was written, without its quotes."""

    place: Place
    text: str
    is_quoted: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    place: Place
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping; a key that stands twice is kept twice."""

    place: Place
    entries: tuple[tuple[Text, "Node"], ...]


Node: TypeAlias = Text | Items | Table


class _RefusedError(Exception):
    """Raised when a document uses what a rules file may not; its problem has been noted."""


def parse(data: bytes, problems: Problems) -> Node | None:
    """The document's tree, None with a problem noted where there is none."""
    if len(data) > MAX_BYTES:
        problems.add(Place(), f"the file has over {MAX_BYTES} bytes, more than a rules file may have")
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        problems.add(
            Place(line, column), f"byte 0x{data[error.start]:02x} is no UTF-8: save the file as UTF-8"
        )
        return None
    return _parse_text(text, problems)


def _parse_text(text: str, problems: Problems) -> Node | None:
    builder = None
    try:
        builder = _Builder(yaml.SafeLoader(text), problems)
        return builder.document()
    except _RefusedError:
        return None
    except yaml.reader.ReaderError as error:
        # Its place is a number of characters
        before = text[: error.position]
        place = Place(before.count("\n") + 1, error.position - before.rfind("\n"))
        problems.add(
            place, f"the character U+{ord(text[error.position]):04X} may not stand in YAML: remove it"
        )
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place() if mark is None else Place(mark.line + 1, mark.column + 1)
        said = " ".join(part for part in (error.context, error.problem) if part)
        problems.add(place, f"this is no YAML: {said}")
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # An escape beyond Unicode, a version of ten thousand digits
        place = Place() if builder is None else builder.place
        problems.add(place, f"this is no YAML: {error}")
    return None


class _Builder:
    """Makes the tree from the parser's events, which come one by one: nothing is unfolded unseen."""

    def __init__(self, loader: yaml.SafeLoader, problems: Problems) -> None:
        self._loader = loader
        self._problems = problems
        self.place = Place()

    def document(self) -> Node | None:
        self._next()  # the stream's start
        if isinstance(self._next(), yaml.StreamEndEvent):
            self._problems.add(Place(), "the file is empty: give `rules:`, `shipped:` or `own_series:`")
            return None
        tree = self._node(self._next(), 0)
        self._next()  # the document's end
        if not isinstance(self._next(), yaml.StreamEndEvent):
            self._refuse("a second document begins here (`---`): a rules file has one")
        return tree

    def _next(self) -> yaml.Event:
        event: yaml.Event = self._loader.get_event()  # type: ignore[no-untyped-call]
        if event is not None and event.start_mark is not None:
            self.place = Place(event.start_mark.line + 1, event.start_mark.column + 1)
        return event

    def _node(self, event: yaml.Event, depth: int) -> Node:
        place = self.place
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(f"the alias *{str(anchor)[:80]} is not taken: write out what it stands for")
        if anchor is not None:
            self._refuse(f"the anchor &{str(anchor)[:80]} is not taken: rules files have no aliases")
        if tag not in _PLAIN_TAGS:
            self._refuse(f"the tag {str(tag)[:80]!r} is not taken: write the value alone")
        if depth > MAX_DEPTH:
            self._refuse(f"this is nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.ScalarEvent):
            return Text(place, event.value, event.style is not None)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(event := self._next(), yaml.SequenceEndEvent):
                items.append(self._node(event, depth + 1))
            return Items(place, tuple(items))
        return Table(place, tuple(self._entries(depth)))

    def _entries(self, depth: int) -> list[tuple[Text, Node]]:
        entries = []
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, Text):
                self._problems.add(key.place, "a key must be a word, not a list or a mapping")
                key = Text(key.place, "")
            entries.append((key, self._node(self._next(), depth + 1)))
        return entries

    def _refuse(self, words: str) -> NoReturn:
        self._problems.add(self.place, words)
        raise _RefusedError

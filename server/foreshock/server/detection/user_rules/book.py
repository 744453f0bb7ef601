"""A rules file as a whole: the rules that judge, shipped and own."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from foreshock.server.detection.rule import AnyRule
from foreshock.server.detection.rules import default_rules
from foreshock.server.detection.user_rules.document import MAX_BYTES, Items, Table, Text, parse
from foreshock.server.detection.user_rules.inhibition import find_cycles, in_order
from foreshock.server.detection.user_rules.problems import Place, Problem, Problems, RulesFileError, near
from foreshock.server.detection.user_rules.rule_section import read_rule
from foreshock.server.detection.user_rules.section import Section
from foreshock.server.detection.user_rules.shipped import read_shipped
from foreshock.server.detection.user_rules.user_rule import UserRule
from foreshock.wire import UnknownSignalError, catalogue_series, parse_column

MAX_RULES: Final = 200
# Alerts of these names are judged by the clock and over groups of runs
ELSEWHERE: Final = ("heartbeat_lost", "restart")
_KINDS: Final = {"scalar": False, "per_layer": True}
_CATALOGUE: Final = frozenset(series for series, _ in catalogue_series())


@dataclass(frozen=True, slots=True)
class RuleBook:
    """The rules of a collector or a replay.

    rules: in the order in which they judge a step: shipped ones, then own ones behind what inhibits them.
    disabled: names of shipped rules that are switched off.
    own_series: series beyond the catalogue that rules look at.
    digest: of the file's bytes; empty without a file.
    """

    rules: tuple[AnyRule, ...]
    disabled: tuple[str, ...] = ()
    own_series: frozenset[str] = frozenset()
    digest: str = ""

    @property
    def own(self) -> tuple[UserRule, ...]:
        """The user's rules."""
        return tuple(rule for rule in self.rules if isinstance(rule, UserRule))

    @property
    def labels(self) -> dict[str, dict[str, str]]:
        """The labels of the user's rules, by name."""
        return {rule.name: dict(rule.labels) for rule in self.own}

    @property
    def inhibited_by(self) -> dict[str, tuple[str, ...]]:
        """By which rules each of the user's rules is held back."""
        return {rule.name: rule.inhibited_by for rule in self.own}


def shipped_book() -> RuleBook:
    """The shipped rules with their default settings."""
    return RuleBook(default_rules())


def load_rules(path: Path) -> RuleBook:
    """Reads a rules file; raises RulesFileError with everything that is wrong, each with its line."""
    return read_rules(read_file(path), str(path))


def read_file(path: Path) -> bytes:
    """A file's bytes, no more of them than are allowed and one; raises RulesFileError."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        words = f"the file cannot be read: {error.strerror or error}"
        raise RulesFileError(str(path), [Problem(Place(), words)]) from error


def read_rules(data: bytes, file: str = "rules.yaml") -> RuleBook:
    """The rules of a file's bytes; raises RulesFileError, in whose words the file is named."""
    problems = Problems()
    book = _read(data, problems)
    if book is None or problems.found:
        raise RulesFileError(file, problems.in_order())
    return book


def _read(data: bytes, problems: Problems) -> RuleBook | None:
    tree = parse(data, problems)
    if tree is None:
        return None
    if not isinstance(tree, Table):
        problems.add(tree.place, "a rules file is a mapping with the keys own_series, shipped and rules")
        return None
    top = Section(tree, "the rules file", problems)
    own_series = _read_own_series(top.section("own_series", "own_series"))
    shipped, disabled = read_shipped(top.section("shipped", "shipped"), default_rules())
    entries = _read_entries(top)
    top.finish()
    sections = [Section(node, f"rule {number}", problems) for number, node in enumerate(entries, 1)]
    own = [read_rule(section, own_series) for section in sections]
    rules = [rule for rule in own if rule is not None]
    _check_names(sections, problems)
    _check_inhibition(sections, problems, disabled)
    if problems.found:
        return None
    ordered = {rule.name: rule for rule in rules}
    names = in_order({rule.name: rule.inhibited_by for rule in rules})
    read = {series for rule in rules for series in (rule.quantity.series, rule.quantity.over) if series}
    return RuleBook(
        (*shipped, *(ordered[name] for name in names)),
        disabled,
        frozenset(read - _CATALOGUE),
        hashlib.blake2b(data, digest_size=8).hexdigest(),
    )


def _read_own_series(section: Section | None) -> Mapping[str, bool]:
    """The user's own series, and whether each has layers."""
    if section is None:
        return {}
    found: dict[str, bool] = {}
    for key, _ in section.table.entries:
        kind = section.choice(key.text, tuple(_KINDS))
        try:
            column = parse_column(key.text)
        except UnknownSignalError as error:
            section.add(key.place, str(error))
            continue
        if column.layer is not None:
            section.add(key.place, f"{key.text}: say {column.series}: per_layer, without the layer")
        elif column.signal is not None:
            section.add(key.place, f"{key.text} is in the catalogue: rules look at it without being told")
        elif kind is not None:
            found[key.text] = _KINDS[kind]
    section.finish()
    return found


def _read_entries(top: Section) -> list[Table]:
    node = top.node("rules")
    if node is None:
        return []
    if not isinstance(node, Items):
        top.add(node.place, "rules must be a list: one `- name: ..` for each rule")
        return []
    if len(node.items) > MAX_RULES:
        top.add(node.place, f"rules has {len(node.items)} entries, at most {MAX_RULES} are judged")
        return []
    for item in node.items:
        if not isinstance(item, Table):
            top.add(item.place, "a rule must be a mapping: name, signal, when ..")
    return [item for item in node.items if isinstance(item, Table)]


def _values(section: Section, key: str) -> tuple[Text, ...]:
    """The words of a key, once more, for checks that go over several rules."""
    found = next((value for name, value in section.table.entries if name.text == key), None)
    items = found.items if isinstance(found, Items) else (found,)
    return tuple(item for item in items if isinstance(item, Text))


def _check_names(sections: Sequence[Section], problems: Problems) -> None:
    shipped = {rule.name for rule in default_rules()} | set(ELSEWHERE)
    lines: dict[str, int] = {}
    for section in sections:
        for name in _values(section, "name"):
            if name.text in shipped:
                words = f"{name.text} is the name of a shipped rule: take another, or set it under `shipped`"
                problems.add(name.place, words)
            elif name.text in lines:
                words = f"{name.text} is the name of a rule in line {lines[name.text]} already: take another"
                problems.add(name.place, words)
            lines.setdefault(name.text, name.place.line)


def _check_inhibition(sections: Sequence[Section], problems: Problems, disabled: Sequence[str]) -> None:
    shipped = [rule.name for rule in default_rules()]
    named: dict[str, Section] = {}
    for section in sections:
        for name in _values(section, "name"):
            named.setdefault(name.text, section)
    for section in sections:
        for other in _values(section, "inhibited_by"):
            if other.text in disabled:
                problems.add(
                    other.place, f"{other.text} is switched off under `shipped` and inhibits nothing"
                )
            elif other.text not in named and other.text not in shipped:
                hint = near(other.text, [*named, *shipped])
                problems.add(other.place, f"there is no rule {other.text[:80]!r}{hint} to inhibit this one")
    graph = {
        name: tuple(one.text for one in _values(section, "inhibited_by")) for name, section in named.items()
    }
    for cycle in find_cycles(graph):
        place = next(one.place for one in _values(named[cycle[0]], "inhibited_by") if one.text == cycle[1])
        problems.add(place, f"rules inhibit each other in a circle: {' <- '.join(cycle)}; take one away")

"""The shipped rules as a rules file changes them: switched off, or with other settings."""

import dataclasses
import math
import typing
from collections.abc import Sequence
from typing import Any, Final

from foreshock.server.detection.rule import AnyRule
from foreshock.server.detection.user_rules.document import Table, Text
from foreshock.server.detection.user_rules.problems import near
from foreshock.server.detection.user_rules.section import Section, shown

OFF: Final = ("off", "false", "no")
# Pairs whose order in the defaults is part of what they mean, such as a threshold and where it clears
ORDERED: Final = (
    ("threshold", "clear_threshold"),
    ("gate_bits", "clear_bits"),
    ("keep_bits", "gate_bits"),
    ("critical_steps", "horizon_steps"),
    ("outlier_z", "severe_z"),
    ("confirm_hits", "confirm_samples"),
    ("min_window_steps", "max_window_steps"),
    ("min_samples", "max_samples"),
)
# Settings that are shares of something whole, or probabilities
_UP_TO_ONE: Final = ("share", "p_value", "least_clip_coefficient")


def read_shipped(
    section: Section | None, rules: Sequence[AnyRule]
) -> tuple[tuple[AnyRule, ...], tuple[str, ...]]:
    """The rules as the section wants them, and the names of those that it switches off."""
    if section is None:
        return tuple(rules), ()
    kept: list[AnyRule] = []
    disabled: list[str] = []
    for rule in rules:
        if not section.has(rule.name):
            kept.append(rule)
        elif _is_off(section, rule.name):
            disabled.append(rule.name)
        else:
            kept.append(rule)
            node = section.node(rule.name)
            if isinstance(node, Table):
                what = f"the shipped rule {rule.name}"
                kept[-1] = _changed(rule, Section(node, what, section.problems))
            elif node is not None:
                words = f"{rule.name} is {shown(node)}: say off, or give its settings as a mapping"
                section.add(node.place, words)
    _tell_unknown(section, [rule.name for rule in rules])
    return tuple(kept), tuple(disabled)


def settings_of(rule: Any) -> dict[str, Any]:
    """A shipped rule's settings, nested ones as mappings, as a rules file says them."""
    return dataclasses.asdict(rule) if dataclasses.is_dataclass(rule) and not isinstance(rule, type) else {}


def _is_off(section: Section, name: str) -> bool:
    found = next((value for key, value in section.table.entries if key.text == name), None)
    return isinstance(found, Text) and found.text.lower() in OFF


def _tell_unknown(section: Section, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for key, _ in section.table.entries:
        if key.text in seen:
            section.add(key.place, f"the shipped rule {key.text} stands twice: keep one")
        elif key.text not in names:
            known = ", ".join(names)
            words = f"there is no shipped rule {key.text[:80]!r}{near(key.text, names)}; there are {known}"
            section.add(key.place, words)
        seen.add(key.text)


def _changed(rule: Any, section: Section) -> Any:
    """The rule, or a part of it, with the settings of a section; as it was where one is wrong."""
    kinds = typing.get_type_hints(type(rule))
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(rule):
        default = getattr(rule, field.name)
        value = _setting(section, field.name, kinds[field.name], default)
        if value is not None:
            changes[field.name] = value
    section.finish()
    changed = dataclasses.replace(rule, **changes)
    _check_order(section, rule, changed)
    return changed


def _setting(section: Section, key: str, kind: Any, default: Any) -> Any:
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        part = section.section(key, f"{key} of {section.what}")
        return None if part is None else _changed(default, part)
    if kind is bool:
        return section.truth(key)
    if kind not in (int, float):
        if section.has(key):
            section.add(section.place, f"{key} of {section.what} cannot be set from a file: remove it")
        section.node(key)
        return None
    value = section.whole(key) if kind is int else section.share(key)
    most = 1.0 if key.endswith(_UP_TO_ONE) else math.inf
    if value is not None and not 0 <= value <= most:
        limit = "0 or more" if math.isinf(most) else "from 0 to 1"
        section.add(section.place, f"{key} of {section.what} is {value:g}: it must be {limit}")
        return None
    return value


def _check_order(section: Section, before: Any, after: Any) -> None:
    names = {field.name for field in dataclasses.fields(before)}
    for one, other in ORDERED:
        if not {one, other} <= names:
            continue
        was = getattr(before, other) - getattr(before, one)
        now = getattr(after, other) - getattr(after, one)
        if was * now < 0:
            side = "at least" if was > 0 else "at most"
            section.add(
                section.place,
                f"{other} of {section.what} is {getattr(after, other):g}: it must be {side} {one}, "
                f"{getattr(after, one):g}",
            )

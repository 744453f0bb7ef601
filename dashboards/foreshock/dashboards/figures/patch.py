"""What changed from one drawn figure to the next, so that a page that has the first fetches only that.

A patch is JSON in one of four shapes, or null where nothing changed:

    {"set": value}                          the value is another
    {"keys": {key: patch}, "gone": [key]}   of an object: members that changed or are new, and those that left
    {"items": {index: patch}}               of a list: elements that changed
    {"at": [start, stop], "put": [..]}      of a list: elements start .. stop became others, after any "items"

Numbers that did not change are not sent, so they stay what they were, bit for bit. `static/patch.js` applies
the same patches in the browser.
"""

import math
from typing import Any, Final

Patch = dict[str, Any]

MEDIA_TYPE: Final = "application/vnd.foreshock.figure-patch+json"


class _Absent:
    """Stands where there was no member."""


_ABSENT: Final = _Absent()


def diff(old: Any, new: Any) -> Patch | None:
    """The patch from one JSON value to another; None where they are the same."""
    if isinstance(old, dict) and isinstance(new, dict):
        return _diff_members(old, new)
    if isinstance(old, list) and isinstance(new, list):
        return _diff_elements(old, new)
    return None if _same(old, new) else {"set": new}


def apply(old: Any, patch: Patch | None) -> Any:
    """The newer value; `old` stays as it is, and parts that did not change are shared with it."""
    if patch is None:
        return old
    if "set" in patch:
        return patch["set"]
    if "keys" not in patch:
        return _apply_elements(old, patch)
    members = {key: value for key, value in old.items() if key not in patch["gone"]}
    return members | {key: apply(old.get(key), inner) for key, inner in patch["keys"].items()}


def _apply_elements(old: list[Any], patch: Patch) -> list[Any]:
    elements = list(old)
    for index, inner in patch.get("items", {}).items():
        elements[int(index)] = apply(old[int(index)], inner)
    if "put" in patch:
        start, stop = patch["at"]
        elements[start:stop] = patch["put"]
    return elements


def _diff_members(old: dict[str, Any], new: dict[str, Any]) -> Patch | None:
    patches = {key: diff(old.get(key, _ABSENT), value) for key, value in new.items()}
    changed = {key: patch for key, patch in patches.items() if patch is not None}
    gone = [key for key in old if key not in new]
    return {"keys": changed, "gone": gone} if changed or gone else None


def _diff_elements(old: list[Any], new: list[Any]) -> Patch | None:
    if any(isinstance(one, list | dict) for one in new):
        # Traces, marks and rows: what is new of them mostly comes last
        return _diff_parts(old, new)
    start = _num_alike(old, new)
    if start == len(old) == len(new):
        return None
    most = min(len(old), len(new)) - start
    tail = min(most, _num_alike(old[: -most - 1 : -1], new[: -most - 1 : -1])) if most else 0
    return {"at": [start, len(old) - tail], "put": new[start : len(new) - tail]}


def _diff_parts(old: list[Any], new: list[Any]) -> Patch | None:
    pairs = enumerate(zip(old, new, strict=False))
    items = {str(at): inner for at, pair in pairs if (inner := diff(*pair)) is not None}
    patch: Patch = {"items": items} if items else {}
    if len(old) != len(new):
        both = min(len(old), len(new))
        patch |= {"at": [both, len(old)], "put": new[both:]}
    return patch or None


def _num_alike(old: list[Any], new: list[Any]) -> int:
    """How many elements both begin with."""
    count = 0
    for before, after in zip(old, new, strict=False):
        if not _same(before, after):
            break
        count += 1
    return count


def _same(old: Any, new: Any) -> bool:
    """Whether two JSON values are written alike: true is not 1, nor is -0.0 what 0.0 is."""
    if type(old) is not type(new) or old != new:
        return False
    if isinstance(new, list | dict):
        return diff(old, new) is None
    return not isinstance(new, float) or new != 0 or math.copysign(1, old) == math.copysign(1, new)

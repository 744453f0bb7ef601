"""From what the user said to a declaration that every collector takes.

What was said in words of one's own (name, tags, seed ..) is refused at attach where no collector
would take it; the configuration, most of which is captured, is cleaned and cut instead.
"""

import json
import operator
import re
from collections.abc import Sequence
from typing import Any, Final

from foreshock.probe.errors import AttachError

MAX_NAME_LENGTH: Final = 200
MAX_TAG_LENGTH: Final = 100
MAX_TAGS: Final = 50
MAX_CONFIG_BYTES: Final = 256 * 1024
MAX_STEPS: Final = 2**53
_RUN_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Control characters and halves of surrogate pairs: neither can be stored and shown everywhere
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def check_run_id(run_id: str) -> str:
    """The run's id, which is also a folder's name; raises AttachError for one that cannot be."""
    if _RUN_ID.fullmatch(run_id) is None or run_id in (".", ".."):
        raise AttachError(
            f"run_id is {run_id[:80]!r}; allowed are 1 to 64 letters, digits, '.', '_' and '-', "
            "but not '.' or '..'"
        )
    return run_id


def check_text(what: str, value: str, max_length: int = MAX_NAME_LENGTH) -> str:
    """A name, project, group or tag; raises AttachError for one that no collector takes."""
    if not isinstance(value, str) or not value.strip():
        raise AttachError(
            f"{what} is {value!r}; give a text of 1 to {max_length} characters, or leave it out"
        )
    if len(value) > max_length:
        raise AttachError(f"{what} has {len(value)} characters; at most {max_length} are allowed: shorten it")
    if _UNPRINTABLE.search(value):
        raise AttachError(f"{what} is {value!r}; it must not hold control characters or half characters")
    return value


def check_tags(tags: Sequence[str]) -> list[str]:
    """The tags; raises AttachError for too many, or one that cannot be."""
    if isinstance(tags, str) or len(tags) > MAX_TAGS:
        raise AttachError(f"tags is {str(tags)[:80]!r}; give a list of at most {MAX_TAGS} texts")
    return [check_text("a tag", tag, MAX_TAG_LENGTH) for tag in tags]


def check_integer(what: str, value: Any, low: int, high: int) -> int | None:
    """None, or any kind of whole number within bounds (numpy's too); raises AttachError else."""
    if value is None:
        return None
    try:
        number = operator.index(value)
    except TypeError:
        raise AttachError(f"{what} is {value!r}; give a whole number") from None
    if not low <= number <= high:
        raise AttachError(f"{what} is {number}; give a whole number from {low} to {high}")
    return number


def clean_text(text: str) -> str:
    """A text without what cannot be stored."""
    return _UNPRINTABLE.sub("?", text)


def fit_config(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration, without its largest entries where all together would be refused."""
    sizes = {key: len(json.dumps({key: value})) for key, value in config.items()}
    left_out = []
    for key in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if sum(sizes.values()) <= MAX_CONFIG_BYTES // 2:
            break
        left_out.append(key)
        del sizes[key]
    kept = {key: value for key, value in config.items() if key in sizes}
    return kept | ({"left_out_of_config": ", ".join(left_out)[:500]} if left_out else {})

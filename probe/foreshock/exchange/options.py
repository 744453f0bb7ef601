"""Options that are pairs: `--map theirs=ours`, `--config key=value`."""

import json
from collections.abc import Iterable
from typing import Any

from foreshock.exchange.errors import OptionError


def read_mapping(renamed: Iterable[str]) -> dict[str, str]:
    """The pairs of `--map`, theirs to ours; raises OptionError for what is no pair."""
    # A series may hold "=" in its own name there, but none has it here
    return dict(_pair("--map", text, text.rpartition("="), "THEIRS=OURS") for text in renamed)


def read_entries(config: Iterable[str]) -> dict[str, Any]:
    """The pairs of `--config`; a value is a number, true, false, null or an object as JSON has it, else text.

    Raises OptionError for what is no pair.
    """
    pairs = (_pair("--config", text, text.partition("="), "KEY=VALUE") for text in config)
    return {key: _value(text) for key, text in pairs}


def _pair(option: str, text: str, parts: tuple[str, str, str], form: str) -> tuple[str, str]:
    left, sign, right = parts
    if not sign or not left:
        raise OptionError(f"{option} is {text!r}; give {form}")
    return left, right


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text

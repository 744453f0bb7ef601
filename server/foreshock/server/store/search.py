"""Values of a configuration: found by key, compared with what people type, shown as text."""

from typing import Any

from foreshock.server.nonfinite import encode_json


def config_value(config: dict[str, Any], key: str) -> Any:
    """The value under a key, or under dotted keys of nested objects; None where there is none."""
    if key in config:
        return config[key]
    found: Any = config
    for part in key.split("."):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    return found


def matches(found: Any, wanted: str) -> bool:
    """Whether a value is the one that was typed; numbers compare as numbers, so 3e-3 finds 0.003."""
    if isinstance(found, int | float) and not isinstance(found, bool):
        try:
            return float(found) == float(wanted)
        except (ValueError, OverflowError):
            return False
    return shown_value(found).lower() == wanted.lower()


def shown_value(value: Any) -> str:
    """A value as the key of a group: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else encode_json(value).decode()

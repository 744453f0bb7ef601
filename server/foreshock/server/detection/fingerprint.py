"""What a rule is, in a few letters: equal as long as its definition is."""

import dataclasses
import hashlib
from typing import Any

from foreshock.server.detection.rule import AnyRule


def fingerprint(rule: AnyRule) -> str:
    """Sixteen hexadecimal digits of a rule's class, name and settings, the same in every process."""
    definition = repr((rule.name, _definition(rule)))
    return hashlib.blake2b(definition.encode(), digest_size=8).hexdigest()


def _definition(part: Any) -> Any:
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        fields = [(field.name, _definition(getattr(part, field.name))) for field in dataclasses.fields(part)]
        return type(part).__qualname__, fields
    if isinstance(part, tuple | list):
        return [_definition(one) for one in part]
    # Of anything else the class: an object's own words may hold its address
    return part if part is None or isinstance(part, str | int | float) else type(part).__qualname__

"""Non-finite numbers where JSON has none: "NaN", "Infinity" and "-Infinity", as strings."""

import dataclasses
import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray


def spell_number(value: float) -> float | str:
    """The number itself, or the word that stands for it in JSON; `float` reads the word back."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def spell_array(values: NDArray[Any]) -> list[Any]:
    """An array as nested lists; only where something is not finite is each element looked at."""
    if values.dtype.kind != "f" or bool(np.isfinite(values).all()):
        return values.tolist()  # type: ignore[no-any-return]
    if values.ndim > 1:
        return [spell_array(row) for row in values]
    listed: list[Any] = values.tolist()
    for index in np.flatnonzero(~np.isfinite(values)):
        listed[index] = spell_number(listed[index])
    return listed


def spell(value: Any) -> Any:
    """A value as JSON can carry it: arrays and dataclasses opened, non-finite numbers spelled."""
    match value:
        case float():
            return spell_number(value)
        case None | bool() | int() | str():
            return value
        case dict():
            return {str(key): spell(item) for key, item in value.items()}
        case list() | tuple():
            return [spell(item) for item in value]
        case np.ndarray():
            return spell_array(value)
        case np.generic():
            return spell(value.item())
        case msgspec.Struct():
            return spell(msgspec.to_builtins(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: spell(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def encode_json(value: Any) -> bytes:
    """JSON bytes of a value; strict JSON, whatever the numbers are."""
    return msgspec.json.encode(spell(value))

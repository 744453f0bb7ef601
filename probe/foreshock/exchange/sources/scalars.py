"""The numbers among what a tracker was handed: it takes pictures and tables, too."""

from collections.abc import Mapping
from typing import Any, Final

from foreshock.exchange.names import Naming
from foreshock.exchange.sources.jsonl import as_float

_WORDS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def scalars_of(told: Mapping[str, Any], naming: Naming, left_out: dict[str, None]) -> dict[str, float]:
    """The numbers under their names here, members of objects as `outer.inner`; the rest into `left_out`."""
    values: dict[str, float] = {}
    for theirs, value in told.items():
        if isinstance(value, dict) and "_type" not in value:
            inner = {f"{theirs}.{name}": item for name, item in value.items()}
            values |= scalars_of(inner, naming, left_out)
            continue
        number = _number(value)
        if number is None:
            left_out[theirs] = None
        elif (name := naming.series(theirs)) is not None:
            values[name] = number
    return values


def _number(value: Any) -> float | None:
    if isinstance(value, int | float):
        return as_float(value) if isinstance(value, int) else value
    return _WORDS.get(value) if isinstance(value, str) else None

"""Logarithmic axes: a range that does not jump about, and ticks that say whole values."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from foreshock.dashboards.figures.frame import value_axis
from foreshock.wire.readings import FloatArray

MAX_TICKS: Final = 7
# From dense to sparse; the first that gives few enough ticks is taken
_MANTISSAS: Final = (
    (1.0, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0),
    (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
    (1.0, 2.0, 5.0),
)


def log_axis(
    title: str,
    values: Sequence[FloatArray],
    low: float = math.inf,
    high: float = -math.inf,
    *,
    most_ticks: int = MAX_TICKS,
    **more: Any,
) -> dict[str, Any]:
    """A logarithmic axis that shows `low` to `high`, and every positive finite value besides."""
    bottom, top = log_range(values, low, high)
    places = ticks(bottom, top, most_ticks)
    labels = {"tickmode": "array", "tickvals": places, "ticktext": [label(place) for place in places]}
    return value_axis(title, log=True, range=[bottom, top], **(labels | more))


def log_range(values: Sequence[FloatArray], low: float, high: float) -> list[float]:
    """The axis range, as logarithms to base 10."""
    parts = [value[np.isfinite(value) & (value > 0)].ravel() for value in values]
    seen = np.concatenate([*parts, np.asarray([])])
    bottom = min(low, float(seen.min()) * 0.87) if seen.size else low
    top = max(high, float(seen.max()) * 1.2) if seen.size else high
    if not (0 < bottom < top < math.inf):
        return [-1.0, 1.0]
    return [round(math.log10(bottom), 3), round(math.log10(top), 3)]


def ticks(bottom: float, top: float, most: int = MAX_TICKS) -> list[float]:
    """Few round values between two logarithms."""
    decades = range(math.floor(bottom), math.ceil(top) + 1)
    for mantissas in _MANTISSAS:
        places = [_power(mantissa, decade) for decade in decades for mantissa in mantissas]
        inside = [place for place in places if 0 < place < math.inf and bottom <= math.log10(place) <= top]
        if len(inside) <= most:
            return inside
    stride = max(1, math.ceil(len(decades) / most))
    return [_power(1.0, decade) for decade in decades if decade % stride == 0 and bottom <= decade <= top]


def _power(mantissa: float, decade: int) -> float:
    return float(f"{mantissa:g}e{decade}")


def label(value: float) -> str:
    """A tick's words: the number itself, or a power of ten where that would be long."""
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    power = f"10<sup>{int(exponent)}</sup>"
    return power if mantissa == "1" else f"{mantissa}\N{MIDDLE DOT}{power}"

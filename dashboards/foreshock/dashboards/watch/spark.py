"""Numbers as a row of characters."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

BLOCKS: Final = "▁▂▃▄▅▆▇█"
BROKEN: Final = "x"
_FULL, _EMPTY = "█", "░"


def spark(values: Sequence[float], width: int) -> str:
    """The values, oldest left, in at most `width` characters: heights between the least and the largest.

    Of the values that share a character the one farthest from the middle stands, so that no spike is lost;
    what is not finite is an x.
    """
    if not values or width < 1:
        return ""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    middle = sorted(finite)[len(finite) // 2] if finite else 0.0
    width = min(width, len(values))
    cuts = [round(place * len(values) / width) for place in range(width + 1)]
    return "".join(_height(values[start:stop], middle, low, high) for start, stop in pairwise(cuts))


def bar(share: float, width: int) -> str:
    """A share, 0 to 1, as a bar."""
    filled = round(min(1.0, max(0.0, share)) * width)
    return _FULL * filled + _EMPTY * (width - filled)


def _height(values: Sequence[float], middle: float, low: float, high: float) -> str:
    if not all(math.isfinite(value) for value in values):
        return BROKEN
    value = max(values, key=lambda one: abs(one - middle))
    share = 0.0 if high <= low else (value - low) / (high - low)
    return BLOCKS[min(len(BLOCKS) - 1, int(share * len(BLOCKS)))]

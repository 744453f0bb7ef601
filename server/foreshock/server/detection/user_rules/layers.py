"""Which layers of a per-layer signal a rule looks at."""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from foreshock.server.detection.context import IndexArray

MAX_LAYER: Final = 99_999
ALLOWED: Final = "worst, all, last, a layer such as 0, a range such as 4-7, or a list of these"
_RANGE: Final = re.compile(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Layers:
    """All layers where `ranges` is empty and `with_last` is not set; else these ranges, and the last.

    ranges: first and last layer of each, both taken.
    with_last: whether the deepest layer that the run measures is taken too.
    is_worst: of all layers, the one that is worst for the condition speaks.
    """

    ranges: tuple[tuple[int, int], ...] = ()
    with_last: bool = False
    is_worst: bool = False

    @property
    def is_single(self) -> bool:
        """Whether this can only ever be one layer."""
        if self.with_last:
            return not self.ranges
        return len(self.ranges) == 1 and self.ranges[0][0] == self.ranges[0][1]

    def chosen(self, layers: IndexArray) -> IndexArray:
        """Where among a run's layers [k], in rising order, those are that are looked at."""
        if not len(layers):
            return np.empty(0, np.intp)
        if not (self.ranges or self.with_last):
            return np.arange(len(layers))
        taken = np.zeros(len(layers), np.bool_)
        for first, last in self.ranges:
            taken |= (layers >= first) & (layers <= last)
        taken[-1] |= self.with_last
        return np.flatnonzero(taken)

    def said(self) -> str | list[str]:
        """As a rules file says it."""
        if not (self.ranges or self.with_last):
            return "worst" if self.is_worst else "all"
        words = [str(first) if first == last else f"{first}-{last}" for first, last in self.ranges]
        words += ["last"] if self.with_last else []
        return words[0] if len(words) == 1 else words


WORST: Final = Layers(is_worst=True)


def parse_layers(words: tuple[str, ...]) -> Layers:
    """Reads one selector or a list; raises ValueError with the words for people."""
    if words in (("worst",), ("all",)):
        return Layers(is_worst=words == ("worst",))
    ranges: list[tuple[int, int]] = []
    for word in words:
        if word == "last":
            continue
        match = _RANGE.fullmatch(word)
        if match is None:
            raise ValueError(f"{word[:60]!r} selects no layers: {ALLOWED}")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise ValueError(f"the range {word!r} runs backwards: say {last}-{first}")
        ranges.append((first, last))
    if not words:
        raise ValueError(f"an empty list selects no layers: {ALLOWED}")
    return Layers(tuple(ranges), "last" in words)

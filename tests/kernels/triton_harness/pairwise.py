"""A few cases in which every pair of choices meets at least once."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any

Case = dict[str, Any]


def full(choices: Mapping[str, Sequence[Any]]) -> list[Case]:
    """Every combination."""
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def pairwise(choices: Mapping[str, Sequence[Any]]) -> list[Case]:
    """A greedy cover of all pairs, the same at every call."""
    everything, chosen = full(choices), []
    open_pairs = {pair for case in everything for pair in _pairs(case)}
    while open_pairs:
        best = max(everything, key=lambda case: len(open_pairs & _pairs(case)))
        chosen.append(best)
        open_pairs -= _pairs(best)
    return chosen


def label(case: Case) -> str:
    """How a case is called in pytest's list."""
    return "-".join(str(value).removeprefix("torch.") for value in case.values())


def _pairs(case: Case) -> set[tuple[tuple[str, Any], tuple[str, Any]]]:
    return set(combinations(case.items(), 2))

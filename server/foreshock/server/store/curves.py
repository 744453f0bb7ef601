"""Curves of one column: pieces of several layouts joined, ranks reduced.

Several ranks become one curve as the catalogue says (`across_ranks`; the mean for a user's own
series). A value that is NaN on one rank makes the joined value NaN: what is broken stays seen.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock.server.store.cells import StepArray
from foreshock.wire import parse_column

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """One column, ranks joined: rising steps [k] and values [k]."""

    column: str
    steps: StepArray
    values: Reals


def join(name: str, ranks: Iterable[list[tuple[StepArray, Reals]]]) -> Curve:
    """Pieces of several layouts follow one another within a rank; ranks join as the catalogue says."""
    curves = [_follow(pieces) for pieces in ranks]
    if len(curves) == 1:
        return Curve(name, *curves[0])
    steps = np.unique(np.concatenate([steps for steps, _ in curves]))
    joined = np.full((len(curves), len(steps)), np.nan)
    present = np.zeros(joined.shape, bool)
    for row, (of_rank, values) in enumerate(curves):
        places = np.searchsorted(steps, of_rank)
        joined[row, places], present[row, places] = values, True
    return Curve(name, steps, reduce_ranks(name, joined, present))


def reduce_ranks(name: str, joined: Reals, present: NDArray[np.bool_]) -> Reals:
    """One value a step [k] from those of all ranks [ranks, k], where they are present."""
    signal = parse_column(name).signal
    across = signal.across_ranks if signal is not None else "mean"
    with np.errstate(invalid="ignore", over="ignore"):
        if across == "max":
            return np.asarray(np.max(np.where(present, joined, -np.inf), axis=0))
        if across == "min":
            return np.asarray(np.min(np.where(present, joined, np.inf), axis=0))
        return np.asarray(np.sum(np.where(present, joined, 0.0), axis=0) / present.sum(axis=0))


def _follow(pieces: list[tuple[StepArray, Reals]]) -> tuple[StepArray, Reals]:
    if len(pieces) == 1:
        return pieces[0]
    steps = np.concatenate([steps for steps, _ in pieces])
    values = np.concatenate([values for _, values in pieces])
    order = np.argsort(steps, kind="stable")
    steps, values = steps[order], values[order]
    # Where two layouts have the same step, the one declared later stands.
    keep = np.append(np.diff(steps) > 0, True) if len(steps) else np.zeros(0, bool)
    return steps[keep], values[keep]

"""Unbroken runs of samples on one side of a baseline: where a departure began, and whether it is one.

An excursion is a run of samples of one series beyond `LOW` deviations on one side; it is a departure once
three samples in a row were over the run's threshold. So neither a lone outlier nor a slow wave of noise
departs, and the first step is where the series left, not where that was certain.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foreshock.server.detection.fast.baselines import UNIT, Deviations
from foreshock.server.detection.sample import BoolArray, Int16Array, StepArray

LOW: Final = 2 * int(UNIT)

# The excursion that a series is on, all 0 where it is on none: first and newest step; level and scale of
# the baseline at the first, value at the newest; side; whether it is a departure
EXCURSION: Final = np.dtype(
    [
        ("since_step", "<i8"),
        ("step", "<i8"),
        ("level", "<f4"),
        ("scale", "<f4"),
        ("value", "<f4"),
        ("side", "i1"),
        ("departed", "?"),
    ]
)
Excursions = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Of every sample the deviation [S, columns] that it and the two before it had at least, on one side.

    newest [2, columns]: the deviations of each series' last two samples.
    """

    deviations: Int16Array
    newest: Int16Array


def confirm(found: Deviations, before: Int16Array) -> Confirmed:
    """Looks back over three samples of each series, whatever steps they are of.

    before [2, columns]: the deviations of its last two samples before the block.
    """
    whole = found.known.all(axis=0)
    if whole.all():
        return _confirm(found.deviations, before)
    deviations, newest = np.zeros_like(found.deviations), before.copy()
    if whole.any():
        of_whole = _confirm(found.deviations[:, whole], before[:, whole])
        deviations[:, whole], newest[:, whole] = of_whole.deviations, of_whole.newest
    # Where steps are missing, the samples are moved together; cadences share most of their steps
    rows = np.flatnonzero(found.known[:, ~whole].any(axis=1))
    if len(rows):
        gappy = np.flatnonzero(~whole)
        known = found.known[np.ix_(rows, gappy)]
        order = np.argsort(~known, axis=0, kind="stable")
        together = np.take_along_axis(found.deviations[np.ix_(rows, gappy)], order, axis=0)
        of_gappy = _confirm(together, before[:, gappy], known.sum(axis=0))
        deviations[rows[order], gappy] = of_gappy.deviations
        newest[:, gappy] = of_gappy.newest
    return Confirmed(deviations, newest)


def _confirm(deviations: Int16Array, before: Int16Array, counts: StepArray | None = None) -> Confirmed:
    """The same without gaps; of each column's samples the first `counts` are there, all where none say."""
    row = np.concatenate((before, deviations))
    lowest = np.minimum(np.minimum(row[:-2], row[1:-1]), row[2:])
    highest = np.maximum(np.maximum(row[:-2], row[1:-1]), row[2:])
    held = np.maximum(lowest, -highest)
    if counts is None:
        return Confirmed(held, row[-2:])
    return Confirmed(held, np.take_along_axis(row, np.stack((counts, counts + 1)), axis=0))


def follow(
    before: Excursions, found: Deviations, held: Int16Array, steps: StepArray, thresholds: Int16Array
) -> Excursions:
    """The excursions [columns] after some steps [S], from those before them.

    held [S, columns]: confirmed deviations. thresholds [S]: those in force.
    """
    after = np.zeros_like(before)
    sides, last = _newest(found, before)
    places = np.flatnonzero(sides)
    side, last = sides[places], last[places]
    known, deviations = found.known[:, places], found.deviations[:, places]
    rows = np.arange(len(steps))[:, None]
    broken = known & (deviations * side < LOW)
    since = np.where(broken, rows, -1).max(axis=0)
    inside: BoolArray = known & (rows > since)
    first = inside.argmax(axis=0)
    old = before[places]
    goes_on = (since < 0) & (old["side"] == side)
    is_told = last >= 0
    now = after[places]
    group = found.groups[first]
    now["since_step"] = np.where(goes_on, old["since_step"], steps[first])
    now["level"] = np.where(goes_on, old["level"], found.levels[group, places])
    now["scale"] = np.where(goes_on, old["scale"], found.scales[group, places])
    now["step"] = np.where(is_told, steps[last], old["step"])
    now["value"] = np.where(is_told, found.values[last, places], old["value"])
    now["side"] = side
    over = inside & (held[:, places] >= thresholds[:, None])
    now["departed"] = over.any(axis=0) | (goes_on & old["departed"])
    after[places] = now
    return after


def _newest(found: Deviations, before: Excursions) -> tuple[NDArray[np.int8], StepArray]:
    """Each series' side at its newest sample, and that sample's row, -1 where it has none here."""
    last = np.full(found.known.shape[1], len(found.known) - 1)
    gappy = np.flatnonzero(~found.known[-1])
    if len(gappy):
        behind = found.known[::-1, gappy]
        last[gappy] = np.where(behind.any(axis=0), len(behind) - 1 - behind.argmax(axis=0), -1)
    newest = found.deviations[last, np.arange(len(last))]
    beyond = (newest >= LOW).astype(np.int8) - (newest <= -LOW)
    return np.where(last >= 0, beyond, before["side"]).astype(np.int8), last

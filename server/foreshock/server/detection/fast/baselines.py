"""Every series' baseline: a level and a scale that follow it slowly, frozen within a group of steps.

A group is 16 judged steps, counted from the run's first. Within it a value's deviation is how far it is
from the level, in scales; at its end both move by what was seen, values beyond 4 deviations counted as
if they stood there, so that an outlier hardly feeds the baseline that it is held against. The scale is
1.25 times the mean absolute deviation (1 standard deviation of normal noise) from a level that lags, so
that a series which moves at an even pace has its pace in its scale and does not depart.

Deviations are whole numbers of 1/256, and their sums are exact: how a group was cut changes no bit.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from foreshock.server.detection.sample import BoolArray, Float32Array, Int16Array, StepArray

GROUP_STEPS: Final = 16
# Samples that a baseline must be made of before anything is held against it
READY: Final = 20
# Deviations are told in this share of the scale; none is further than 128, none moves a baseline by over 4
UNIT: Final = np.float32(256)
_FURTHEST: Final = np.float32(2**15 - 1)
_CLIP: Final = 4 * UNIT
# While it is found, twice as far: sums of a group stay within 16 bits
_FIRST_CLIP: Final = np.float32(2**15 / GROUP_STEPS - 1)
_ONE: Final = np.float32(1)
# The mean of deviations moves the level, that of their sizes the scale: that of normal noise, its standard
# deviation
_SHARES: Final = np.array([[1.0], [math.sqrt(math.pi / 2)]], np.float32) / UNIT
# Before the first group ends: the scale as a share of the value (in logarithms: as it is), its weight
_FIRST_SCALE: Final = 0.02
_FIRST_MASS: Final = 2
# Less than a thousandth is no movement worth telling
_LEAST_SHARE: Final = np.float32(1e-3)
_LEAST_SCALE: Final = np.float32(1e-4)
_LARGEST_SCALE: Final = np.float32(1e36)

LEVEL, SCALE, MASS, COUNT, DRIFT, SPREAD = range(6)


@dataclass(frozen=True, slots=True)
class Deviations:
    """A block's values [S, columns], which of them are known, and how far they are from their baselines.

    deviations [S, columns]: in 1/256 scales; 0 where a value is unknown or its baseline not ready.
    groups [S]: the group of each step, counted from the block's first. levels, scales [groups, columns].
    """

    values: Float32Array
    known: BoolArray
    deviations: Int16Array
    groups: StepArray
    levels: Float32Array
    scales: Float32Array

    def upto(self, end: int) -> "Deviations":
        """Those of the first `end` steps."""
        return Deviations(
            self.values[:end],
            self.known[:end],
            self.deviations[:end],
            self.groups[:end],
            self.levels,
            self.scales,
        )


class Baselines:
    """The baselines of a run's columns.

    numbers [6, columns]: level, scale, how many samples they are worth (0 before the first), and of the
    group that is under way the samples, the sum of their clipped deviations, and that of their sizes.
    """

    def __init__(self, most_samples: int) -> None:
        """`most_samples`: how many a baseline is made of at most; the older weigh ever less."""
        self._most = np.float32(most_samples)
        self.numbers = blank(0)

    def forget(self) -> None:
        """Begins all baselines anew."""
        self.numbers = blank(self.numbers.shape[1])

    def advance(self, values: Float32Array, known: BoolArray, first: int, num_logs: int) -> Deviations:
        """Follows values [S, columns], of which some are known; the first `num_logs` are logarithms.

        first: the number among all judged steps of the first of them.
        """
        self._begin(values, known, num_logs)
        groups = (first + np.arange(len(values))) // GROUP_STEPS
        starts = np.flatnonzero(np.diff(groups, prepend=-1)).tolist()
        are_whole = np.logical_and.reduceat(np.logical_and.reduce(known, axis=1), starts).tolist()
        are_ready = bool((self.numbers[MASS] >= READY).all())
        deviations = np.empty(values.shape, np.int16)
        baselines = np.empty((len(starts), 2, values.shape[1]), np.float32)
        # What is further away than single precision tells is clipped all the same
        with np.errstate(over="ignore"):
            for group, (start, end) in enumerate(pairwise((*starts, len(values)))):
                baselines[group] = self.numbers[:MASS]
                part = self._look(values[start:end])
                count: Float32Array | int = end - start
                if not are_whole[group]:
                    part *= known[start:end]
                    count = np.add.reduce(known[start:end], axis=0, dtype=np.float32)
                deviations[start:end] = part
                clip: Float32Array | np.float32 = _CLIP
                if not are_ready:
                    is_ready = self.numbers[MASS] >= READY
                    deviations[start:end] *= is_ready
                    clip = np.where(is_ready, _CLIP, _FIRST_CLIP)
                self._sum_up(part, count, clip)
                if (first + end) % GROUP_STEPS == 0:
                    self._close(num_logs)
        groups -= groups[0]
        return Deviations(values, known, deviations, groups, baselines[:, LEVEL], baselines[:, SCALE])

    def _begin(self, values: Float32Array, known: BoolArray, num_logs: int) -> None:
        """A series begins at its first value."""
        fresh = np.flatnonzero(self.numbers[MASS] == 0)
        fresh = fresh[known[:, fresh].any(axis=0)]
        first = values[known[:, fresh].argmax(axis=0), fresh]
        share = np.where(fresh < num_logs, np.float32(1.0), np.abs(first))
        self.numbers[LEVEL, fresh] = first
        self.numbers[SCALE, fresh] = np.maximum(np.float32(_FIRST_SCALE) * share, _LEAST_SCALE)
        self.numbers[MASS, fresh] = _FIRST_MASS

    def _look(self, values: Float32Array) -> Float32Array:
        """The deviations of steps of one group, in 1/256 scales: whole numbers, where not known any."""
        found: Float32Array = values - self.numbers[LEVEL]
        found *= UNIT / self.numbers[SCALE]
        # Which makes a number of NaN
        np.fmin(found, _FURTHEST, out=found)
        np.maximum(found, -_FURTHEST, out=found)
        np.rint(found, out=found)
        return found

    def _sum_up(
        self, found: Float32Array, count: Float32Array | int, clip: Float32Array | np.float32
    ) -> None:
        """Takes deviations into the group's sums; they are clipped where they stand."""
        np.minimum(found, clip, out=found)
        np.maximum(found, -clip, out=found)
        sums = self.numbers[COUNT:]
        sums[0] += count
        sums[1] += np.add.reduce(found, axis=0)
        sums[2] += np.add.reduce(np.abs(found, out=found), axis=0)

    def _close(self, num_logs: int) -> None:
        """The end of a group: a level and a scale become means of what they were and what was seen."""
        moves, mass, count, sums = self.numbers[:MASS], *self.numbers[MASS:DRIFT], self.numbers[DRIFT:]
        mass += count
        sums *= _SHARES
        sums[1] -= count
        sums *= moves[SCALE] / np.maximum(mass, _ONE)
        moves += sums
        least = np.abs(moves[LEVEL])
        least[:num_logs] = 1.0
        least *= _LEAST_SHARE
        np.maximum(least, _LEAST_SCALE, out=least)
        scale = np.maximum(moves[SCALE], least, out=moves[SCALE])
        np.minimum(scale, _LARGEST_SCALE, out=scale)
        np.minimum(mass, self._most, out=mass)
        self.numbers[COUNT:] = 0.0


def blank(num_columns: int) -> Float32Array:
    """The numbers of columns of which nothing is known."""
    numbers = np.zeros((6, num_columns), np.float32)
    numbers[SCALE] = 1.0
    return numbers

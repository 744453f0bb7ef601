"""From how many deviations on a run's series have left their baselines: its own tail decides.

Of every group of steps the largest confirmed deviation of all series together is kept: a maximum over
blocks, whose law is Gumbel's or, its logarithm taken, Frechet's for heavy tails (Gumbel, Statistics of
Extremes, 1958; where there are many such maxima this is the peaks over threshold of Siffer et al. 2017
with one peak a block). Level and mean absolute deviation of the logarithms are followed as those of any
series, and the threshold is where that law leaves `BUDGET` groups in 1,000 steps. Series that belong
together leave together, so pooling by maxima counts an episode once, however many series are in it.
"""

import math
from typing import Final

import msgspec

from foreshock.server.detection.fast import baselines
from foreshock.server.detection.fast.baselines import GROUP_STEPS

UNIT: Final = int(baselines.UNIT)
# Groups with a false departure in 1,000 steps of a run, over all of its series
BUDGET: Final = 0.5
LEAST: Final = 4.0
MOST: Final = 64.0
_LEAST_LOG: Final = math.log(LEAST)
_MOST_LOG: Final = math.log(MOST)
# Groups that the tail is made of at most: a thousand steps
_MOST_GROUPS: Final = 64
_EULER: Final = 0.5772156649
# Mean absolute deviation of a standard Gumbel variable
_GUMBEL_SPREAD: Final = 0.9830686
_REACH: Final = (-math.log(-math.log1p(-BUDGET * GROUP_STEPS / 1000)) - _EULER) / _GUMBEL_SPREAD


class Tail(msgspec.Struct, frozen=True):
    """What is remembered of the groups' maxima.

    level, spread: of their logarithms. groups: how many they are made of. peak: of the group under way.
    The defaults are what 256 series of independent noise show, and are soon outweighed.
    """

    level: float = 0.5
    spread: float = 0.15
    groups: int = 8
    peak: int = 0

    def threshold(self) -> int:
        """The threshold in force, in 1/256 deviations."""
        reach = min(max(self.level + _REACH * self.spread, _LEAST_LOG), _MOST_LOG)
        return math.ceil(UNIT * math.exp(reach))

    @property
    def threshold_deviations(self) -> float:
        """The same in deviations."""
        return self.threshold() / UNIT

    def seen(self, peak: int) -> "Tail":
        """With more of the group that is under way."""
        return self if peak <= self.peak else msgspec.structs.replace(self, peak=peak)

    def closed(self, peak: int, threshold: int) -> "Tail":
        """With the rest of a group that ends. What is over the threshold counts as if it stood there."""
        peak = max(peak, self.peak)
        if peak <= 0:
            return self
        distance = math.log(max(min(peak, threshold) / UNIT, 1.0)) - self.level
        gain = 1.0 / (self.groups + 1)
        return Tail(
            self.level + gain * distance,
            self.spread + gain * (abs(distance) - self.spread),
            min(self.groups + 1, _MOST_GROUPS),
        )

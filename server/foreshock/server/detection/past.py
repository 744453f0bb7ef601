"""What lies behind each of many steps: the accepted values of its window, none of its own."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import numpy as np

from foreshock.server.detection.context import IndexArray
from foreshock.server.detection.history import CAPACITY, History
from foreshock.server.detection.measures import Measure
from foreshock.server.detection.sample import FloatArray, StepArray


@dataclass(frozen=True, slots=True)
class Past:
    """The windows of steps [S]: of the accepted losses [k] each has those from `first` to before `end`."""

    steps: StepArray
    first: IndexArray
    end: IndexArray
    accepted_steps: StepArray
    accepted: FloatArray

    @classmethod
    def of(
        cls,
        history: History,
        outliers: Collection[int],
        start: int,
        steps: StepArray,
        window_steps: int,
    ) -> Self:
        """The finite losses of `window_steps` before each of some steps, which begin at row `start`."""
        all_steps, losses, begin = history.all(Measure.LOSS)
        is_accepted = np.isfinite(losses)
        if outliers:
            is_accepted &= ~np.isin(all_steps, list(outliers))
        # How many are accepted before each sample
        before = np.concatenate(([0], np.cumsum(is_accepted)))
        own = np.arange(begin + start, begin + start + len(steps))
        accepted_steps = all_steps[is_accepted]
        first = accepted_steps.searchsorted(steps - window_steps)
        # As far as a step's own history reaches
        first = np.maximum(first, before[np.maximum(own + 1 - CAPACITY, 0)])
        return cls(steps, first, before[own], accepted_steps, losses[is_accepted])

    @property
    def counts(self) -> IndexArray:
        """How many values each window has."""
        counts: IndexArray = np.maximum(self.end - self.first, 0)
        return counts

    def lowest(self, num_samples: int) -> FloatArray:
        """The lowest of each window's last few values [S], infinite where it has none."""
        lowest = np.full(len(self.steps), np.inf)
        if not len(self.accepted):
            return lowest
        for back in range(1, num_samples + 1):
            places = self.end - back
            values = np.where(places >= self.first, self.accepted.take(places, mode="clip"), np.inf)
            lowest = np.minimum(lowest, values)
        return lowest

    def windows(self, rows: IndexArray) -> tuple[StepArray, FloatArray]:
        """Steps and values [n, k] of windows that have equally many values."""
        count = int(self.counts[rows[0]])
        places = self.first[rows, np.newaxis] + np.arange(count)
        return self.accepted_steps[places], self.accepted[places]

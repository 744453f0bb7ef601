"""Steps of a run as rules see them many at a time, to find those that are worth a closer look."""

from dataclasses import dataclass, field

import numpy as np

from foreshock.server.detection.block import Block
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.fast.layer import Motion
from foreshock.server.detection.forecast.forecaster import Outlook
from foreshock.server.detection.history import History
from foreshock.server.detection.measures import Measure
from foreshock.server.detection.rule import Moment, Schedule
from foreshock.server.detection.sample import BoolArray, FloatArray


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some steps [S] without a schedule change among them, and their measures `now` [Measure, S].

    The history holds them all; a moment is where it stands at one of them.
    """

    context: RunContext
    block: Block
    now: FloatArray
    history: History
    first_step: int
    schedule: Schedule | None = None
    outlook: Outlook | None = None
    first_number: int = 0
    motion: Motion | None = None
    _latest: dict[tuple[Measure, int], FloatArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.block)

    def moment(self, row: int) -> Moment:
        """One step, with the history that ends with it."""
        self.history.stand_at(row)
        return Moment(
            self.context,
            self.block,
            row,
            self.now[:, row],
            self.history,
            self.first_step,
            self.schedule,
            self.outlook,
            self.first_number,
            self.motion,
        )

    def latest(self, measure: Measure, window_steps: int) -> FloatArray:
        """For each step a measure's latest finite value [S], NaN where it is older than so many steps."""
        asked = (measure, window_steps)
        if asked not in self._latest:
            self._latest[asked] = self.history.latest_within(*asked)
        return self._latest[asked]

    def none(self) -> BoolArray:
        """None of the steps [S]."""
        return np.zeros(len(self), np.bool_)

    def every(self) -> BoolArray:
        """All of the steps [S]."""
        return np.ones(len(self), np.bool_)

"""The forecast's risk at its ticks, as it leaves the detector: what is stored, drawn and asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from foreshock.server.detection.forecast.forecaster import HORIZON_NAMES
from foreshock.server.detection.sample import FloatArray, StepArray


@dataclass(frozen=True, slots=True)
class Risk:
    """Steps [K] in rising order, and the risk [K, 4] there, 0 to 1, within each of HORIZON_NAMES."""

    steps: StepArray
    values: FloatArray

    def __len__(self) -> int:
        return len(self.steps)

    def part(self, start: int, end: int | None = None) -> Self:
        """The ticks from row `start` up to, not with, row `end`."""
        return type(self)(self.steps[start:end], self.values[start:end])

    @classmethod
    def none(cls) -> Self:
        """No tick at all."""
        return cls(np.zeros(0, np.int64), np.zeros((0, len(HORIZON_NAMES))))

    @classmethod
    def join(cls, parts: Sequence["Risk"]) -> Self:
        """Parts that follow one another, as one."""
        parts = [cls.none(), *parts]
        steps = np.concatenate([one.steps for one in parts])
        return cls(steps, np.concatenate([one.values for one in parts]))

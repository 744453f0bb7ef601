"""What a rule remembers of its own quantity: some hundred samples, however long the window."""

import math
from typing import Final

import msgspec
import numpy as np

from foreshock.server.detection.sample import FloatArray, StepArray

MAX_SAMPLES: Final = 100


class Memory(msgspec.Struct):
    """The state of a user's rule.

    steps, values: thinned samples of the window, oldest first; unused by conditions of one step.
    next_step: when a test that costs something is due again.
    level, noise: the baseline that was fitted last.
    seen_step: the last step that measured the quantity, -1 before the first.
    held_time, clear_time: since when, by the samples' own times, it has held or been clear.
    """

    steps: list[int] = []
    values: list[float] = []
    next_step: int = -1
    level: float = math.nan
    noise: float = math.nan
    seen_step: int = -1
    held_time: float | None = None
    clear_time: float | None = None

    def take(self, step: int, value: float, window_steps: int) -> None:
        """Remembers a finite value, at most a hundred for a window, and forgets what has left it.

        One sample from before the window stays, so that there always is one to compare with.
        """
        if self.steps and step - self.steps[-1] < stride(window_steps):
            return
        self.steps.append(step)
        self.values.append(value)
        gone = 0
        while gone + 1 < len(self.steps) and self.steps[gone + 1] <= step - window_steps:
            gone += 1
        if gone:
            del self.steps[:gone], self.values[:gone]

    def is_due(self, step: int, value: float, window_steps: int) -> bool:
        """Remembers a value; whether its trend is to be tested: some twenty times a window."""
        self.take(step, value, window_steps)
        if step < self.next_step:
            return False
        self.next_step = step + max(1, window_steps // 20)
        return True

    def since(self, first_step: int) -> tuple[StepArray, FloatArray]:
        """Steps and values [k] from a step on."""
        steps = np.array(self.steps, np.int64)
        start = int(np.searchsorted(steps, first_step))
        return steps[start:], np.array(self.values[start:], np.float64)


def stride(window_steps: int) -> int:
    """Steps between two samples that are remembered."""
    return -(-window_steps // MAX_SAMPLES)

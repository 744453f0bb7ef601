"""What a rule remembers of its own quantity: some hundred samples, however long the window."""

import math
from bisect import bisect_right
from typing import Final

import msgspec
import numpy as np

from foreshock.server.detection.context import IndexArray
from foreshock.server.detection.sample import FloatArray, StepArray
from foreshock.server.detection.user_rules.due import DueWindows, hops

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

    def follow(self, steps: StepArray, values: FloatArray, window_steps: int) -> None:
        """Does what `is_due` does at each of many steps [k], with finite values [k]."""
        taken = self._taken(steps, window_steps)
        if len(taken):
            self.steps += steps[taken].tolist()
            self.values += values[taken].tolist()
            gone = bisect_right(self.steps, self.steps[-1] - window_steps) - 1
            del self.steps[: max(0, gone)], self.values[: max(0, gone)]
        due = hops(steps, self.next_step, _pause(window_steps))
        if len(due):
            self.next_step = int(steps[due[-1]]) + _pause(window_steps)

    def due(
        self, steps: StepArray, values: FloatArray, window_steps: int, not_before: int
    ) -> tuple[IndexArray, DueWindows]:
        """At which of many steps [k] with finite values [k] a trend is due, and the windows behind these.

        not_before: no window looks back over this step.
        """
        places = hops(steps, self.next_step, _pause(window_steps))
        taken = self._taken(steps, window_steps) if len(places) else places
        all_steps = np.concatenate((np.array(self.steps, np.int64), steps[taken]))
        all_values = np.concatenate((np.array(self.values, np.float64), values[taken]))
        ends = steps[places]
        first = np.searchsorted(all_steps, np.maximum(ends - window_steps, not_before))
        end = np.searchsorted(all_steps, ends, "right")
        return places, DueWindows(all_steps, all_values, np.minimum(first, end), end)

    def _taken(self, steps: StepArray, window_steps: int) -> IndexArray:
        earliest = self.steps[-1] + stride(window_steps) if self.steps else -1
        return hops(steps, earliest, stride(window_steps))

    def is_due(self, step: int, value: float, window_steps: int) -> bool:
        """Remembers a value; whether its trend is to be tested: some twenty times a window."""
        self.take(step, value, window_steps)
        if step < self.next_step:
            return False
        self.next_step = step + _pause(window_steps)
        return True

    def since(self, first_step: int) -> tuple[StepArray, FloatArray]:
        """Steps and values [k] from a step on."""
        steps = np.array(self.steps, np.int64)
        start = int(np.searchsorted(steps, first_step))
        return steps[start:], np.array(self.values[start:], np.float64)


def _pause(window_steps: int) -> int:
    """Steps between two tests of a trend."""
    return max(1, window_steps // 20)


def stride(window_steps: int) -> int:
    """Steps between two samples that are remembered."""
    return -(-window_steps // MAX_SAMPLES)

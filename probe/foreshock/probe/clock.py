"""When each sheet is due: the cadences of a probe, counted in steps."""

from collections.abc import Mapping
from typing import Final

from foreshock.wire import Cadence

# Single numbers of every layer cost nothing beside a step; what needs a pass of its own waits
COMPOSITE_EVERY: Final = 10
SLOW_EVERY: Final = 10
RARE_EVERY: Final = 50


class Clock:
    """Which sheets the step under way is to fill; all of them in the first."""

    def __init__(self, every: Mapping[Cadence, int]) -> None:
        self._every = dict(every)
        self._deep_steps = 0
        self.is_due: dict[Cadence, bool] = dict.fromkeys(self._every, True)

    def begin(self, step: int) -> None:
        """Begins `step`: a sheet is due at every multiple of its cadence, and always while it is deep."""
        is_deep = self._deep_steps > 0
        self._deep_steps = max(0, self._deep_steps - 1)
        for cadence, every in self._every.items():
            self.is_due[cadence] = is_deep or step % every == 0

    def deepen(self, num_steps: int) -> None:
        """Makes every sheet due in each of the next so many steps."""
        self._deep_steps = max(self._deep_steps, num_steps)

"""When each sheet is due, counted in steps, and what filling it has cost."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Final, Literal, TypeAlias

from foreshock.wire import CADENCES, WHOLE_EVERY, Cadence

# Single numbers of every layer cost nothing beside a step; what needs a pass of its own waits
COMPOSITE_EVERY: Final = 10
SLOW_EVERY: Final = 10
RARE_EVERY: Final = 50

# What is done at every step, whichever sheets are due
Account: TypeAlias = Cadence | Literal["always"]


class Clock:
    """Which sheets the step under way is to fill; all of them in the first.

    `spent` is what the probe has taken of the training thread, in seconds since attach, by what for, and
    `total_spent` their sum; `num_readings` says how often each sheet has been filled.
    """

    def __init__(self, every: Mapping[Cadence, int]) -> None:
        self.every: dict[Cadence, int] = {"step": 1, **every}
        self._deep_steps = 0
        self.is_due: dict[Cadence, bool] = dict.fromkeys(self.every, True)
        self.is_whole: dict[Cadence, bool] = dict.fromkeys(self.every, True)
        self.num_readings: dict[Cadence, int] = dict.fromkeys(self.every, 0)
        self.total_spent = 0.0
        # Called whenever a step has begun
        self.beginnings: list[Callable[[], None]] = []
        self.spent: dict[Account, float] = dict.fromkeys((*CADENCES, "always"), 0.0)

    @property
    def is_deep(self) -> bool:
        """Whether steps to come are recorded whole, whatever the cadences."""
        return self._deep_steps > 0

    def begin(self, step: int) -> None:
        """Begins `step`: a sheet is due at every multiple of its cadence, and always while it is deep."""
        is_deep = self.is_deep
        self._deep_steps = max(0, self._deep_steps - 1)
        for cadence, every in self.every.items():
            self.num_readings[cadence] += self.is_due[cadence]
            self.is_due[cadence] = is_deep or step % every == 0
            # What is rare is told of all layers always
            seldom = every if cadence == "rare" else WHOLE_EVERY * every
            self.is_whole[cadence] = is_deep or step % seldom == 0
        for begun in self.beginnings:
            begun()

    def deepen(self, num_steps: int) -> None:
        """Makes every sheet due in each of the next so many steps."""
        self._deep_steps = max(self._deep_steps, num_steps)

    def charge(self, account: Account, since: float) -> None:
        """Puts the time since this moment of `perf_counter` down to a sheet."""
        seconds = perf_counter() - since
        self.spent[account] += seconds
        self.total_spent += seconds

    @contextmanager
    def charging(self, account: Account) -> Iterator[None]:
        """Puts the time inside down to a sheet, less what something inside puts down itself."""
        begun, charged = perf_counter(), self.total_spent
        try:
            yield
        finally:
            self.charge(account, begun + self.total_spent - charged)

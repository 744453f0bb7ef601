"""The probe's share of the training thread's time: measured in every window of steps, and kept."""

from statistics import median
from typing import Final

from foreshock.probe.clock import Clock
from foreshock.wire import Cadence

# One decision a window; the first warms up, and a run that is shorter is worth its readings
WINDOW_STEPS: Final = 50
# No reading is given up, whatever it costs. Round numbers, so that the sheets, and the runs that are
# compared, are read at the same steps
_STRETCHES: Final = (1, 2, 5, 10)
# By so much the share may be passed before anything changes: a noisy machine is no reason
_SLACK: Final = 1.2
# A pause (an evaluation, a checkpoint) is no step
_LONGEST_STEP: Final = 4.0

_NOW_AND_THEN: Final[tuple[Cadence, ...]] = ("composite", "slow")


class Budget:
    """Stretches the cadences of `clock` so that the probe takes at most `percent` of a step.

    First what is read now and then is read more seldom, up to ten times; where that is not enough, so is
    what is read of every layer at every step. Loss and gradient norm are of every step in any case, and the
    sheet `rare` is left alone: its forward pass is the training script's own wish. What is counted is time
    of the training thread; on a GPU that is launching, not the kernels' own time.
    """

    def __init__(self, clock: Clock, percent: float) -> None:
        self._clock, self._share = clock, percent / 100
        self._base = dict(clock.every)
        self._stretch = (1, 1)
        # Of the last window that had one: a window may be shorter than the pause between two readings
        self._reading_seconds: dict[Cadence, float] = dict.fromkeys(clock.every, 0.0)
        self._is_warm = False
        self._open_window()

    def _open_window(self) -> None:
        self._seconds: list[float] = []
        self._spent, self._num_readings = dict(self._clock.spent), dict(self._clock.num_readings)
        self._was_deep = False

    def end_step(self, seconds: float) -> bool:
        """Takes a step's wall time; True where the cadences have changed."""
        self._seconds.append(seconds)
        self._was_deep |= self._clock.is_deep
        if len(self._seconds) < WINDOW_STEPS:
            return False
        changed = self._is_warm and not self._was_deep and self._decide()
        self._is_warm = True
        self._open_window()
        return changed

    def _decide(self) -> bool:
        """Finds the smallest stretches that keep the share, by what readings cost; in seconds a step."""
        spent = {account: total - self._spent[account] for account, total in self._clock.spent.items()}
        for cadence, number in self._clock.num_readings.items():
            if number > self._num_readings[cadence]:
                self._reading_seconds[cadence] = spent[cadence] / (number - self._num_readings[cadence])
        always = spent["always"] / len(self._seconds)
        allowed = self._share * (self._total_seconds() - sum(spent.values())) / len(self._seconds)
        # What each would cost unstretched
        seldom = sum(self._reading_seconds[one] / self._base[one] for one in _NOW_AND_THEN)
        step = self._reading_seconds["step"]
        if (
            allowed / _SLACK
            < always + step / self._stretch[1] + seldom / self._stretch[0]
            <= allowed * _SLACK
        ):
            return False
        wanted = _smallest(seldom, allowed - always - step), 1
        if always + step + seldom / wanted[0] > allowed * _SLACK:
            most = _STRETCHES[-1]
            wanted = most, _smallest(step, allowed - always - seldom / most)
        if wanted == self._stretch:
            return False
        self._stretch = wanted
        for cadence in _NOW_AND_THEN:
            self._clock.every[cadence] = self._base[cadence] * wanted[0]
        self._clock.every["step"] = wanted[1]
        return True

    def _total_seconds(self) -> float:
        usual = median(self._seconds)
        return sum(min(one, _LONGEST_STEP * usual) for one in self._seconds)


def _smallest(cost: float, left: float) -> int:
    """The smallest stretch that brings `cost` into what is left of the share, else the largest there is."""
    return next((stretch for stretch in _STRETCHES if cost / stretch <= left), _STRETCHES[-1])

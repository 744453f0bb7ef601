"""Seconds that have passed, by the times that samples carry: never back, whatever those do."""

import math
from typing import Final

import msgspec

# A time from the far future must not make an alert old at once
LONGEST_GAP_SECONDS: Final = 3600.0


class Clock(msgspec.Struct, frozen=True):
    """Seconds counted from sample to sample, so that a replay counts the same.

    A time that is no time (NaN, infinite, 0 or less) is passed over. Where times go back nothing passes;
    they count on from there, and a way back up that was counted before is not counted again. One gap
    counts for an hour at most.

    seconds: what has passed since the first time. last, highest: of the times so far, None before any.
    """

    seconds: float = 0.0
    last: float | None = None
    highest: float | None = None

    def at(self, time: float) -> "Clock":
        """The clock after a sample of this time, in seconds since the epoch."""
        if not (math.isfinite(time) and time > 0):
            return self
        if self.last is None or self.highest is None:
            return Clock(self.seconds, time, time)
        passed = time - self.last
        if time > self.highest:
            passed = min(passed, time - self.highest)
        passed = min(max(passed, 0.0), LONGEST_GAP_SECONDS)
        return Clock(self.seconds + passed, time, max(time, self.highest))

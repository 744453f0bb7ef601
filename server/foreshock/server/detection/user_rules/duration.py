"""How long: in steps, in seconds, or as a share of the run."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from foreshock.server.detection.context import RunContext

Unit = Literal["steps", "seconds", "share"]

# As for the patience of the shipped rules
STEPS_OF_UNKNOWN_RUN: Final = 200
MOST_STEPS: Final = 10**9
MOST_SECONDS: Final = 365 * 86_400
ALLOWED: Final = "say 50 steps, 5 % (of the run), or 30 s, 10 min, 2 h"
_WRITTEN: Final = re.compile(r"(?P<amount>[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*(?P<unit>[A-Za-z%]*)")
_SECONDS: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
}


@dataclass(frozen=True, slots=True)
class Duration:
    """An amount of steps, of seconds of the samples' own times, or a share (0.05 is 5 %) of the run."""

    amount: float
    unit: Unit = "steps"

    def steps(self, context: RunContext) -> int:
        """In steps of this run; a share of a run of unknown length is 200 steps. Not for seconds."""
        if self.unit == "steps":
            return int(self.amount)
        if context.total_steps is None:
            return STEPS_OF_UNKNOWN_RUN
        return max(1, round(self.amount * context.total_steps))

    def said(self) -> str:
        """As a rules file says it."""
        if self.unit == "share":
            return f"{100 * self.amount:.12g}%"
        return f"{self.amount:.12g} {'s' if self.unit == 'seconds' else 'steps'}"


def parse_duration(text: str) -> Duration:
    """Reads `50 steps`, `5%`, `30 s`, `10 min`, `2 h`; raises ValueError with the words for people."""
    match = _WRITTEN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:60]!r} is no duration: {ALLOWED}")
    amount, unit = float(match["amount"]), match["unit"]
    if unit == "%":
        if not 0 < amount <= 100:
            raise ValueError(f"{text[:60]!r} is no possible share of a run: over 0 % and at most 100 %")
        return Duration(amount / 100, "share")
    if unit in ("step", "steps"):
        if amount != int(min(amount, 1e18)) or not 1 <= amount <= MOST_STEPS:
            raise ValueError(f"{text[:60]!r} is impossible: whole steps, from 1 to {MOST_STEPS}")
        return Duration(amount)
    if unit in _SECONDS:
        seconds = amount * _SECONDS[unit]
        if not 0 < seconds <= MOST_SECONDS:
            raise ValueError(f"{text[:60]!r} is impossible: over 0 s and at most a year")
        return Duration(seconds, "seconds")
    if not unit:
        raise ValueError(f"{text[:60]!r} has no unit: {ALLOWED}")
    raise ValueError(f"{unit!r} is no unit of a duration: {ALLOWED}")

"""`above: 10` or `below: 0.1`: the value has passed a threshold."""

import math
from dataclasses import dataclass
from typing import Any

from foreshock.server.detection.context import RunContext
from foreshock.server.detection.sample import BoolArray, FloatArray
from foreshock.server.detection.user_rules.criterion import Finding, Sight, judged
from foreshock.server.detection.user_rules.section import Section
from foreshock.server.detection.user_rules.window import Memory
from foreshock.wire.signal import Reduction


@dataclass(frozen=True, slots=True)
class Level:
    """Holds while the value is above (or below) the threshold; clear once it is back at `clear`."""

    key: str
    threshold: float
    clear: float

    @property
    def worst(self) -> Reduction:
        """The layer furthest over the threshold."""
        return "max" if self.key == "above" else "min"

    def window_steps(self, context: RunContext) -> int:
        """It looks at one step."""
        return 0

    def judge(self, sight: Sight, memory: Memory) -> Finding | None:
        """Holds the step's value against the threshold."""
        value = sight.value
        if value is None or math.isnan(value):
            return None
        sign = 1 if self.key == "above" else -1
        holds, is_clear = sign * value > sign * self.threshold, sign * value <= sign * self.clear

        def words() -> str:
            if holds:
                return f"is {value:.4g}, {self.key} {self.threshold:g}."
            return f"is {value:.4g}, no longer {self.key} {self.threshold:g}."

        return Finding(judged(holds, is_clear), words)

    def suspects(self, values: FloatArray, present: BoolArray) -> BoolArray:
        """Where of values [S, layers] it can hold, however they are reduced."""
        return values > self.threshold if self.key == "above" else values < self.threshold

    def said(self) -> Any:
        """The threshold."""
        return self.threshold

    def said_clear(self) -> dict[str, Any]:
        """The other threshold, where it is another."""
        return {} if self.clear == self.threshold else {opposite(self.key): self.clear}


def opposite(key: str) -> str:
    """The direction in which it clears."""
    return "below" if key == "above" else "above"


def read_level(key: str, when: Section, clear: Section | None) -> Level | None:
    """Reads `above` or `below` and the threshold of `clear`, notes what is wrong with them."""
    threshold = when.number(key)
    back = None if clear is None else clear.number(opposite(key))
    if threshold is None:
        return None
    if (
        back is not None
        and clear is not None
        and ((back > threshold) == (key == "above"))
        and back != threshold
    ):
        clear.add(
            clear.place,
            f"{clear.what} is impossible: it would be clear {opposite(key)} {back:g} while it holds "
            f"{key} {threshold:g}; clear at {threshold:g} or further {opposite(key)}",
        )
    return Level(key, threshold, threshold if back is None else back)

"""`nonfinite: true`: a value is NaN or infinite."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from foreshock.server.detection.context import RunContext
from foreshock.server.detection.sample import BoolArray, FloatArray
from foreshock.server.detection.user_rules.criterion import Finding, Sight, judged
from foreshock.server.detection.user_rules.section import Section
from foreshock.server.detection.user_rules.window import Memory
from foreshock.wire.signal import Reduction


@dataclass(frozen=True, slots=True)
class NonfiniteValue:
    """Holds while any of the chosen layers is NaN or infinite."""

    key: ClassVar[str] = "nonfinite"

    @property
    def worst(self) -> Reduction:
        """Any layer will do."""
        return "max"

    def window_steps(self, context: RunContext) -> int:
        """It looks at one step."""
        return 0

    def judge(self, sight: Sight, memory: Memory) -> Finding | None:
        """Looks whether all is finite."""
        if sight.value is None:
            return None
        holds = not sight.is_finite

        def words() -> str:
            return f"is not finite at step {sight.step}." if holds else "is finite again."

        return Finding(judged(holds, not holds), words)

    def suspects(self, values: FloatArray, present: BoolArray) -> BoolArray:
        """Where values [S, layers] are not finite, and measured."""
        return present & ~np.isfinite(values)

    def said(self) -> Any:
        """true."""
        return True

    def said_clear(self) -> dict[str, Any]:
        """Nothing: it is clear when all is finite."""
        return {}


def read_nonfinite(key: str, when: Section, clear: Section | None) -> NonfiniteValue | None:
    """Reads `nonfinite`, which can only be true."""
    truth = when.truth(key)
    if truth is False:
        when.add(
            when.place, f"nonfinite of {when.what} can only be true: leave the rule out to switch it off"
        )
    return NonfiniteValue() if truth else None

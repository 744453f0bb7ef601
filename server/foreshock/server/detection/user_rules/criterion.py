"""The seam of what can be asked of a quantity: a sight of one step in, a finding out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from foreshock.server.detection.context import RunContext
from foreshock.server.detection.rule import Condition, Moment
from foreshock.server.detection.user_rules.window import Memory
from foreshock.wire.signal import Reduction


@dataclass(frozen=True, slots=True)
class Sight:
    """A quantity at one step.

    value: None where the step did not measure it, NaN where all that was measured is NaN.
    is_finite: whether everything that was measured is finite.
    """

    moment: Moment
    value: float | None
    is_finite: bool = True

    @property
    def step(self) -> int:
        """The step that is judged."""
        return self.moment.step


@dataclass(frozen=True, slots=True)
class Finding:
    """What a criterion says of one step; `words` go behind the quantity's name and end with a full stop."""

    condition: Condition
    words: Callable[[], str]
    eta_steps: float | None = None


class Criterion(Protocol):
    """One thing that a rule can wait for."""

    @property
    def key(self) -> str:
        """Its key under `when`."""

    @property
    def worst(self) -> Reduction:
        """Which of several layers is the worst for it."""

    def window_steps(self, context: RunContext) -> int:
        """How far back it looks, 0 for not at all."""

    def judge(self, sight: Sight, memory: Memory) -> Finding | None:
        """What it says of a step, None where that is nothing new."""

    def said(self) -> Any:
        """Its value under `when`, as a rules file says it."""

    def said_clear(self) -> dict[str, Any]:
        """What of `clear` belongs to it, as a rules file says it."""


def judged(holds: bool, is_clear: bool) -> Condition:
    """HOLDS, CLEAR, or what lies between."""
    return Condition.HOLDS if holds else Condition.CLEAR if is_clear else Condition.BETWEEN

"""`changes: {by: 50%, within: 100 steps}`: the value against its own value a window ago."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from foreshock.server.detection.context import RunContext
from foreshock.server.detection.user_rules.criteria.movement import read_window
from foreshock.server.detection.user_rules.criterion import Finding, Sight, judged
from foreshock.server.detection.user_rules.duration import Duration
from foreshock.server.detection.user_rules.section import Amount, Section
from foreshock.server.detection.user_rules.window import Memory
from foreshock.wire.signal import Reduction


@dataclass(frozen=True, slots=True)
class Change:
    """Holds while the value is `by` more (less, where `by` is negative) than `within` steps ago."""

    key: ClassVar[str] = "changes"
    by: Amount
    within: Duration

    @property
    def worst(self) -> Reduction:
        """The layer that has gone furthest."""
        return "max" if self.by.value > 0 else "min"

    def window_steps(self, context: RunContext) -> int:
        """The window."""
        return self.within.steps(context)

    def judge(self, sight: Sight, memory: Memory) -> Finding | None:
        """Compares with the newest sample that is a window old, never one from before a schedule change."""
        window = self.window_steps(sight.moment.context)
        if sight.value is None or not math.isfinite(sight.value):
            return None
        memory.take(sight.step, sight.value, window)
        schedule = sight.moment.schedule
        then_step, then = memory.steps[0], memory.values[0]
        if then_step > sight.step - window or (schedule is not None and then_step < schedule.step):
            return None
        value = sight.value
        change = value - then
        if self.by.is_share:
            change = change / abs(then) if then else math.copysign(math.inf, change) if change else 0.0
        sign = 1 if self.by.value > 0 else -1
        holds = sign * change >= sign * self.by.value

        def words() -> str:
            moved = f"{100 * change:+.3g} %" if self.by.is_share else f"{change:+.4g}"
            told = (
                f"is {value:.4g}, {then:.4g} at step {then_step}: {moved} in {sight.step - then_step} steps"
            )
            return f"{told}." if holds else f"{told}, no longer {self.by.said()}."

        return Finding(judged(holds, not holds), words)

    def said(self) -> Any:
        """by and within."""
        return {"by": self.by.said(), "within": self.within.said()}

    def said_clear(self) -> dict[str, Any]:
        """Nothing: it is clear when it has changed less."""
        return {}


def read_change(key: str, when: Section, clear: Section | None) -> Change | None:
    """Reads `changes`, notes what is wrong with it."""
    section = when.section(key, f"{key} of {when.what}")
    if section is None:
        return None
    by, within = section.amount("by"), read_window(section, "within", 1)
    section.finish()
    if by is None:
        if not section.has("by"):
            section.add(section.place, f"{section.what} lacks by: say how much, such as 50% or -50%")
        return None
    if by.value == 0:
        section.add(section.place, f"by of {section.what} is 0: say how much, such as 50% or -50%")
    return None if within is None else Change(by, within)

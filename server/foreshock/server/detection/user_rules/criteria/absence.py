"""`missing: 50 steps`: a signal that the run did measure has not come for so long."""

from dataclasses import dataclass
from typing import Any, ClassVar

from foreshock.server.detection.context import RunContext
from foreshock.server.detection.user_rules.criterion import Finding, Sight, judged
from foreshock.server.detection.user_rules.duration import Duration
from foreshock.server.detection.user_rules.section import Section
from foreshock.server.detection.user_rules.window import Memory
from foreshock.wire.signal import Reduction


@dataclass(frozen=True, slots=True)
class Absence:
    """Holds while the steps go on without the signal; a run that has never measured it lacks nothing."""

    key: ClassVar[str] = "missing"
    lasting: Duration

    @property
    def worst(self) -> Reduction:
        """Any layer will do."""
        return "max"

    def window_steps(self, context: RunContext) -> int:
        """It remembers one step alone."""
        return 0

    def judge(self, sight: Sight, memory: Memory) -> Finding | None:
        """Counts the steps since the signal was seen."""
        if sight.value is not None:
            memory.seen_step = sight.step
        if memory.seen_step < 0:
            return None
        since, limit = sight.step - memory.seen_step, self.lasting.steps(sight.moment.context)
        seen_step = memory.seen_step

        def words() -> str:
            return (
                "is measured again."
                if not since
                else f"was last measured at step {seen_step}, {since} steps ago."
            )

        return Finding(judged(since >= limit, not since), words)

    def said(self) -> Any:
        """How long."""
        return self.lasting.said()

    def said_clear(self) -> dict[str, Any]:
        """Nothing: it is clear when the signal is back."""
        return {}


def read_absence(key: str, when: Section, clear: Section | None) -> Absence | None:
    """Reads `missing`."""
    lasting = when.duration(key)
    return None if lasting is None else Absence(lasting)

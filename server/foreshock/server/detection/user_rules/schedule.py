"""When a rule looks at all: which steps of the run, and how long not after a logged schedule change."""

from dataclasses import dataclass
from typing import Any, Final

from foreshock.server.detection.context import RunContext
from foreshock.server.detection.rule import Moment
from foreshock.server.detection.user_rules.duration import Duration
from foreshock.server.detection.user_rules.section import Section


@dataclass(frozen=True, slots=True)
class Window:
    """The steps that a rule judges.

    start: the first of them; None is the run's first.
    stop: from here on no more; None, and a share of a run of unknown length, is never.
    quiet: so long after a logged schedule change nothing is judged, and patience begins anew.
    """

    start: Duration | None = None
    stop: Duration | None = None
    quiet: Duration | None = None

    def is_before(self, moment: Moment) -> bool:
        """Whether the rule does not look yet."""
        return self.start is not None and moment.step < self.start.steps(moment.context)

    def is_over(self, moment: Moment) -> bool:
        """Whether the rule looks no more."""
        end = self.end(moment.context)
        return end is not None and moment.step >= end

    def end(self, context: RunContext) -> int | None:
        """The first step of a run at which the rule looks no more, None where it always does."""
        if self.stop is None or (self.stop.unit == "share" and context.total_steps is None):
            return None
        return self.stop.steps(context)

    def patience_from(self, moment: Moment) -> int | None:
        """From which step patience counts after a logged schedule change, None without one."""
        if self.quiet is None or moment.schedule is None:
            return None
        return moment.schedule.last_step + self.quiet.steps(moment.context)

    def is_quiet(self, moment: Moment) -> bool:
        """Whether a schedule change is too fresh."""
        until = self.patience_from(moment)
        return until is not None and moment.step < until

    def said(self) -> dict[str, Any]:
        """As a rules file says it."""
        named = {"from": self.start, "until": self.stop, "ignore_after_change": self.quiet}
        return {key: duration.said() for key, duration in named.items() if duration is not None}


EVERY_STEP: Final = Window()


def read_schedule(section: Section | None) -> Window:
    """Reads `schedule`, notes what is wrong with it."""
    if section is None:
        return EVERY_STEP
    found = Window(
        section.duration("from"), section.duration("until"), section.duration("ignore_after_change")
    )
    section.finish()
    start, stop = found.start, found.stop
    if start and stop and start.unit == stop.unit and start.amount >= stop.amount:
        section.add(
            section.place,
            f"{section.what} is impossible: from {start.said()} until {stop.said()} there is no step",
        )
    return found

"""Up to which step a run of several ranks can be judged, and which ranks are not waited for.

The watermark is the last step that every live rank has delivered. A rank that stands still while
others advance is left out after a grace; that is a decision of the clock, so it is part of the
state, and a judge that takes over keeps it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class RankPlace:
    """Where one rank's cursor stands."""

    rank: int
    last_step: int
    closed: bool


class Absence(msgspec.Struct, frozen=True):
    """A rank that does not take part in steps after `after_step`, up to `until_step` (None: still)."""

    rank: int
    after_step: int
    until_step: int | None = None


class Waiting(msgspec.Struct):
    """When each rank was last seen to advance. Of one process: it only feeds decisions of the grace."""

    steps: dict[int, int] = {}
    times: dict[int, float] = {}

    def note(self, places: Sequence[RankPlace], now: float) -> None:
        """Takes the cursors as they are now."""
        for place in places:
            if self.steps.get(place.rank) != place.last_step:
                self.steps[place.rank] = place.last_step
                self.times[place.rank] = now


def absent_ranks(absences: Sequence[Absence]) -> frozenset[int]:
    """Ranks that are left out now."""
    return frozenset(one.rank for one in absences if one.until_step is None)


def is_absent(absences: Sequence[Absence], rank: int, step: int) -> bool:
    """Whether a rank takes no part in a step."""
    return any(
        one.rank == rank and step > one.after_step and (one.until_step is None or step <= one.until_step)
        for one in absences
    )


def watermark(places: Sequence[RankPlace], absences: Sequence[Absence]) -> int:
    """The last step that all live ranks have delivered; a closed rank has delivered all it ever will."""
    absent = absent_ranks(absences)
    live = [place.last_step for place in places if not place.closed and place.rank not in absent]
    if live:
        return min(live)
    return max((place.last_step for place in places), default=-1)


def decide(
    places: Sequence[RankPlace],
    absences: Sequence[Absence],
    waiting: Waiting,
    judged_step: int,
    now: float,
    grace_seconds: float,
) -> tuple[Absence, ...]:
    """Leaves out ranks that stood still for the grace while others went on; takes back who caught up."""
    furthest = max((place.last_step for place in places), default=-1)
    by_rank = {place.rank: place for place in places}
    decided = []
    for one in absences:
        place = by_rank.get(one.rank)
        if one.until_step is None and place is not None and place.last_step > judged_step:
            one = msgspec.structs.replace(one, until_step=judged_step)
        decided.append(one)
    absent = absent_ranks(decided)
    for place in places:
        stands = now - waiting.times.get(place.rank, now) >= grace_seconds
        behind = place.last_step < furthest
        if stands and behind and not place.closed and place.rank not in absent:
            decided.append(Absence(place.rank, max(judged_step, place.last_step)))
    return tuple(decided)

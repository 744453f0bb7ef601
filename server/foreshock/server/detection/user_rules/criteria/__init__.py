"""Everything that a rule can wait for, by its key under `when`."""

from collections.abc import Callable, Mapping
from typing import Final

from foreshock.server.detection.user_rules.criteria.absence import read_absence
from foreshock.server.detection.user_rules.criteria.change import read_change
from foreshock.server.detection.user_rules.criteria.deviation import read_deviation
from foreshock.server.detection.user_rules.criteria.forecast import read_forecast
from foreshock.server.detection.user_rules.criteria.level import read_level
from foreshock.server.detection.user_rules.criteria.movement import read_movement
from foreshock.server.detection.user_rules.criteria.nonfinite import read_nonfinite
from foreshock.server.detection.user_rules.criterion import Criterion
from foreshock.server.detection.user_rules.section import Section

__all__ = ["CRITERIA"]

# Each reads its own part of `when` and `clear`, and gives None where it has noted a problem
CRITERIA: Final[Mapping[str, Callable[[str, Section, Section | None], Criterion | None]]] = {
    "above": read_level,
    "below": read_level,
    "rises": read_movement,
    "falls": read_movement,
    "changes": read_change,
    "deviates": read_deviation,
    "missing": read_absence,
    "nonfinite": read_nonfinite,
    "eta": read_forecast,
}

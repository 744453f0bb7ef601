"""A series that has left its baseline, in numbers and in words."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from foreshock.server.detection.fast.excursions import Excursions
from foreshock.server.detection.fast.followed import is_log
from foreshock.wire import parse_column

# Reasons name so many that moved first
NAMED: Final = 3
# More deviations than this are told as such
_TELLING: Final = 100
# Further than this is not worth a digit
_MOST_DEVIATIONS: Final = 1e6


class Departure(msgspec.Struct, frozen=True):
    """One series that is away from its baseline.

    since_step: the first of the unbroken run of samples beyond 2 deviations; step: the newest of them.
    deviations: how far `value` is from `baseline`, in the series' own noise before it left, by logarithms
    where the catalogue reads it so; above 0 where it rose. value: the newest; baseline: the level that it
    left; both in the signal's unit.
    """

    column: str
    series: str
    layer: int | None
    since_step: int
    step: int
    deviations: float
    value: float
    baseline: float

    @property
    def words(self) -> str:
        """What moved, where, since when and by how much."""
        where = self.series if self.layer is None else f"{self.series} of layer {self.layer}"
        moved = "rose" if self.deviations > 0 else "fell"
        far = abs(self.deviations)
        # Of a series that hardly moved before, any step is thousands: no reader gains by the number
        words = f"over {_TELLING}" if far > _TELLING else f"{far:.{0 if far >= 10 else 1}f}"
        return f"{where} {moved} at step {self.since_step}, {words} deviations"


def departures(names: Sequence[str], excursions: Excursions) -> tuple[Departure, ...]:
    """Those of the columns' excursions that are departures, first movers first, then the furthest."""
    found = [
        _departure(names[place], *excursions[place].tolist())
        for place in excursions["departed"].nonzero()[0].tolist()
    ]
    return tuple(sorted(found, key=lambda one: (one.since_step, -abs(one.deviations))))


def _departure(
    name: str, since_step: int, step: int, level: float, scale: float, value: float, side: int, _: bool
) -> Departure:
    column = parse_column(name)
    deviations = min(max(abs(value - level) / scale, 1.0), _MOST_DEVIATIONS)
    if is_log(name):
        value, level = math.exp(value), math.exp(level)
    return Departure(
        name, column.series, column.layer, since_step, step, round(side * deviations, 1), value, level
    )


def moved_first(found: Iterable[Departure]) -> str:
    """A sentence, with a space before it, on those that moved first, one of each signal; none without any.

    It names what a model or its optimizer has, not the machine's load or a step's time.
    """
    movers: dict[str, str] = {}
    for one in found:
        signal = parse_column(one.column).signal
        if signal is not None and signal.cadence != "host" and signal.unit != "s":
            movers.setdefault(signal.name, one.words)
    named = list(movers.values())[:NAMED]
    return f" Moved first: {'; '.join(named)}." if named else ""

"""One row of the catalogue: what a signal is, in the words of those who read it."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Reduction = Literal["mean", "max", "min"]
Cadence = Literal["step", "composite", "slow", "rare"]
# Beside what is counted in steps: every ten seconds, told of the step that was then the last
Pace: TypeAlias = Cadence | Literal["host"]
CADENCES: Final[tuple[Cadence, ...]] = ("step", "composite", "slow", "rare")
# A band that ends here or beyond is open
UNBOUNDED: Final = 1000.0
# Of a deep model, one reading in so many tells every layer; the others tell the worst
WHOLE_EVERY: Final = 10


@dataclass(frozen=True, slots=True)
class Band:
    """The closed interval in which a signal of a healthy run stays."""

    low: float
    high: float

    @property
    def has_top(self) -> bool:
        """Whether there is too much of it: an open band ends at a number that no run comes near."""
        return self.high < UNBOUNDED


@dataclass(frozen=True, slots=True)
class Signal:
    """One row of the catalogue.

    `reductions` are taken over tokens and become suffixes of the column's name; `across_ranks` says
    how the values of several ranks become one; `cadence` "step" means every step, "composite" every
    `composite_every` steps, "slow" every 10 and "rare" every 50, "host" every ten seconds.
    """

    name: str
    description: str
    formula: str
    unit: str
    source: str
    per_layer: bool = False
    reductions: tuple[Reduction, ...] = ()
    across_ranks: Reduction = "max"
    cadence: Pace = "step"
    healthy: Band | None = None
    log_scale: bool = False

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series: one for each reduction, or the bare name."""
        return tuple(f"{self.name}_{reduction}" for reduction in self.reductions) or (self.name,)

    @property
    def low_is_worse(self) -> bool:
        """Whether a low value is what to look for: room that is left, the least of many.

        Ranks are joined by their minimum for that, but also where all must agree (dead experts): then a
        band from zero on says that none is well.
        """
        if self.across_ranks != "min" and "min" not in self.reductions:
            return False
        return self.healthy is None or self.healthy.low > 0 or not self.healthy.has_top

    def columns(self, num_layers: int) -> tuple[str, ...]:
        """All its columns for a model of `num_layers` sub-layers, reduction by reduction."""
        if not self.per_layer:
            return self.series
        return tuple(f"{series}[{layer}]" for series in self.series for layer in range(num_layers))

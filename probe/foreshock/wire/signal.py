"""One row of the catalogue: what a signal is, in the words of those who read it."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Reduction = Literal["mean", "max", "min"]
Cadence = Literal["step", "composite", "slow", "rare"]
# Beside what is counted in steps: every ten seconds, told of the step that was then the last
Pace: TypeAlias = Cadence | Literal["host"]
CADENCES: Final[tuple[Cadence, ...]] = ("step", "composite", "slow", "rare")
# Of a deep model, one reading in so many tells every layer; the others tell the worst
WHOLE_EVERY: Final = 10


@dataclass(frozen=True, slots=True)
class Band:
    """The closed interval in which a signal of a healthy run stays."""

    low: float
    high: float


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

    def columns(self, num_layers: int) -> tuple[str, ...]:
        """All its columns for a model of `num_layers` sub-layers, reduction by reduction."""
        if not self.per_layer:
            return self.series
        return tuple(f"{series}[{layer}]" for series in self.series for layer in range(num_layers))

"""What is turned up, and how far: depth, steps, rate and batch, one at a time and all at once."""

import math
from dataclasses import dataclass, replace
from typing import Final

from foreshock.reference_models.errors import StressError

# In this order they are trained: what is most likely to fail comes before what merely costs time
VARIANTS: Final = ("base", "combined", "higher_rate", "deeper", "larger_batch", "longer")
CHANGED: Final = "changed"
# The base without its constraint: what a restart's fallen variance is held against, and no test of its own
UNCONSTRAINED: Final = "unconstrained"


@dataclass(frozen=True, slots=True)
class Factors:
    """How many times the base's value each knob gets; 1 leaves it alone.

    The rate's default is that of the stress forks in the early-warning protocol (x 3); the others double.
    """

    depth: float = 2.0
    steps: float = 2.0
    rate: float = 3.0
    batch: float = 2.0

    def __post_init__(self) -> None:
        for name in ("depth", "steps", "rate", "batch"):
            factor = getattr(self, name)
            if not (math.isfinite(factor) and 1 <= factor <= 1000):
                raise StressError(f"{name} factor is {factor}; give 1 (the knob stays as it is) to 1000")


@dataclass(frozen=True, slots=True)
class Setting:
    """One variant's values; None for a knob that the stack has not. `seed` is no knob: each has several."""

    variant: str
    num_steps: int
    depth: int | None = None
    rate: float | None = None
    batch: int | None = None

    def cost_beside(self, base: "Setting") -> float:
        """Its work as a multiple of `base`'s: steps times depth times batch."""
        ratio = self.num_steps / base.num_steps
        for own, other in ((self.depth, base.depth), (self.batch, base.batch)):
            ratio *= own / other if own and other else 1.0
        return ratio

    @property
    def words(self) -> str:
        """The values: `rate 0.009, depth 12, steps 200, batch 8`."""
        told = {"rate": self.rate, "depth": self.depth, "steps": self.num_steps, "batch": self.batch}
        return ", ".join(f"{name} {value:g}" for name, value in told.items() if value is not None)


def settings(base: Setting, factors: Factors, only: tuple[str, ...] = ()) -> list[Setting]:
    """The base and what is turned up from it, in the order of VARIANTS; `only` leaves the others out.

    A variant equal to one before it (a factor of 1, a knob that is missing) is left out. Raises StressError.
    """
    for name in only:
        if name not in VARIANTS:
            raise StressError(f"only is {name!r}; allowed are {', '.join(VARIANTS)}")
    found: list[Setting] = []
    for variant in VARIANTS:
        setting = _turned(base, factors, variant)
        if all(replace(setting, variant=other.variant) != other for other in found):
            found.append(setting)
    chosen = [setting for setting in found if not only or setting.variant in only]
    missing = sorted(set(only) - {setting.variant for setting in chosen})
    if missing:
        raise StressError(f"only is {', '.join(missing)}, which is no more than the base; raise its factor")
    return chosen


def _turned(base: Setting, factors: Factors, variant: str) -> Setting:
    every = variant == "combined"
    changes: dict[str, float | int] = {}
    if base.depth is not None and (every or variant == "deeper"):
        changes["depth"] = round(base.depth * factors.depth)
    if base.rate is not None and (every or variant == "higher_rate"):
        changes["rate"] = base.rate * factors.rate
    if base.batch is not None and (every or variant == "larger_batch"):
        changes["batch"] = round(base.batch * factors.batch)
    if every or variant == "longer":
        changes["num_steps"] = round(base.num_steps * factors.steps)
    return replace(base, variant=variant, **changes)  # type: ignore[arg-type]

"""What is said of a run's health: how safe it is, which layer moves, since when, what to do."""

from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["dead", "risk", "watch", "partial", "unknown", "safe"]

# Gravest first, each with a sign, so that no meaning hangs on colour alone
LEVELS: Final[dict[Level, str]] = {
    "dead": "✕",
    "risk": "!",
    "watch": "!",
    "partial": "\N{EN DASH}",
    "unknown": "…",
    "safe": "✓",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A run's health.

    `word` is two to five words, `sentence` all of it in words. `since_step` is when the level began: the
    step of the first alarm, of the death, of the last sign of life; None where nothing is wrong.

    `layer` is the layer that moves, with the `series` that shows it and its newest `value`, and
    `moved_since` the step since which it has; all None where none does. `rule` is the alert that decides,
    `advice` its own; `risk` the forecast's, by horizon ("20", "100" steps, "5%", "10%" of the run) as it
    was told at step `risk_step`; `limit_step` where a limit is passed at the present pace.
    """

    level: Level
    word: str
    sentence: str
    since_step: int | None = None
    layer: int | None = None
    series: str | None = None
    value: float | None = None
    moved_since: int | None = None
    rule: str | None = None
    advice: str = ""
    risk: dict[str, float] | None = None
    risk_step: int | None = None
    limit_step: int | None = None
    num_open: int = 0

    @property
    def sign(self) -> str:
        """The level as one character."""
        return LEVELS[self.level]

    def told(self) -> dict[str, object]:
        """Everything as plain values, the sign among them."""
        return {"sign": self.sign} | {name: getattr(self, name) for name in self.__slots__}

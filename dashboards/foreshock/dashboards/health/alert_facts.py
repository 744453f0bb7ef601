"""One alert, as far as health depends on it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

# A lost heartbeat is a matter of contact, not of the training's health
CONTACT: Final = "heartbeat_lost"
# What these state has happened; every other rule speaks of what is to come
_OUTCOMES: Final = ("nonfinite", "loss_spike", "no_data", CONTACT)
_GRAVITY: Final = {"critical": 0, "warning": 1}

# What a rule has seen, to somebody who has never read its name
_CAUSES: Final[Mapping[str, str]] = {
    "canary_spread": "layer 0 has left its band, and other layers follow",
    "constraint_broken": "the mixing matrices have left their constraint",
    "exit_amax": "the gain is over 10 and goes on rising",
    "exit_stability_tax": "clipping or normalisation has ever more to undo",
    "headroom_running_out": "the residual stream is about to overflow its number format",
    "loss_spike": "the loss has spiked",
    "no_data": "some signals have stopped coming",
    "nonfinite": "some values are not finite",
    "spike_ahead": "a spike or a divergence is forecast",
    "structural_risk": "the run's state is that of runs which diverged",
    "time_bomb": "the gain rises while the loss still falls",
    "vanishing": "the signal vanishes on its way through the layers",
}


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """An alert of a run.

    `told_step` is the step at which its risk and `eta_steps` were told last, where that is known.
    """

    rule: str
    severity: str
    state: str
    subject: str
    opened_step: int
    fired_step: int | None = None
    resolved_step: int | None = None
    reason: str = ""
    advice: str = ""
    signal: str | None = None
    layer: int | None = None
    risk: Mapping[str, float] | None = None
    eta_steps: float | None = None
    told_step: int | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From the collector's own words, `GET /runs/{run_id}/alerts`; what is missing stays unknown."""
        known = {name: told[name] for name in cls.__slots__ if told.get(name) is not None}
        return cls(**{"severity": "info", "state": "firing", "subject": "", **known})

    @property
    def step(self) -> int:
        """Where it stands: the step at which it fired, or opened while it is pending."""
        return self.opened_step if self.fired_step is None else self.fired_step

    @property
    def is_open(self) -> bool:
        """Whether it still stands."""
        return self.state != "resolved"

    @property
    def is_grave(self) -> bool:
        """Whether people are woken for the training's sake."""
        return self.state == "firing" and self.severity == "critical" and self.rule != CONTACT

    @property
    def is_death(self) -> bool:
        """Whether it says that the loss is not finite."""
        return self.rule == "nonfinite" and self.subject == "loss"

    @property
    def foretells(self) -> bool:
        """Whether it spoke of what was to come."""
        return self.rule not in _OUTCOMES and self.fired_step is not None and self.severity in _GRAVITY

    @property
    def cause(self) -> str:
        """What it has seen, as a clause; of a rule of one's own, its name."""
        return _CAUSES.get(self.rule, f"“{self.rule.replace('_', ' ')}” holds")

    @property
    def limit_step(self) -> int | None:
        """The step at which its limit is passed at the pace of when it was told."""
        if self.eta_steps is None:
            return None
        return round((self.step if self.told_step is None else self.told_step) + self.eta_steps)


def earliest(alerts: Iterable[AlertFacts]) -> AlertFacts | None:
    """The one that stands first, the gravest of those at one step."""
    return min(alerts, key=lambda one: (one.step, _GRAVITY.get(one.severity, 2), one.rule), default=None)

"""What health is judged by, read tolerantly: a run may be not judged yet, or of an older collector."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from foreshock.dashboards.health.alert_facts import AlertFacts
from foreshock.dashboards.health.coverage import gaps_of

# The judge's summary of a run under the columns that it stands for, where no newest values are at hand
_SUMMARISED: Final[Mapping[str, str]] = {"loss": "loss", "headroom_bits": "headroom_bits"}


@dataclass(frozen=True, slots=True)
class Departure:
    """A series that has left what it used to be, since `since_step`; of one layer, or of none."""

    series: str
    layer: int | None
    since_step: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """One run: its state, its alerts of this attempt, the newest value of each column.

    `is_judged` says whether the judge has come to it; `composite` is the worst composite gain and
    `layer_gain` the worst layer with its gain, for where `values` are not at hand; `gaps` is what was not
    seen, as phrases.
    """

    state: str
    last_step: int
    total_steps: int | None = None
    died_step: int | None = None
    is_judged: bool = True
    alerts: tuple[AlertFacts, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    composite: float | None = None
    layer_gain: tuple[int, float] | None = None
    gaps: tuple[str, ...] = ()
    departures: tuple[Departure, ...] = ()

    @classmethod
    def of(
        cls,
        run: Mapping[str, Any],
        alerts: Iterable[Mapping[str, Any]],
        values: Mapping[str, Any] | None = None,
        departures: Sequence[Departure] = (),
    ) -> Self:
        """From the collector's own words of the run, its alerts and its newest values.

        Without `values` the judge's summary stands for them. Numbers may be spelled ("NaN").
        """
        summary = run.get("summary") or {}
        if values is None:
            values = {column: summary.get(name) for column, name in _SUMMARISED.items()}
        found = {name: value for name, told in values.items() if (value := number_of(told)) is not None}
        measured = any(name.startswith("layer_amax_") for name in found)
        attempt = run.get("attempt")
        return cls(
            state=str(run.get("state", "running")),
            last_step=whole_of(run.get("last_step"), -1),
            total_steps=run.get("total_steps"),
            died_step=summary.get("died_step"),
            is_judged=isinstance(summary.get("step"), int),
            alerts=tuple(AlertFacts.of(one) for one in alerts if one.get("attempt") in (attempt, None)),
            values=found,
            composite=_worse(summary.get("composite_forward"), summary.get("composite_backward")),
            layer_gain=_layer_gain(summary),
            gaps=gaps_of(run, measured),
            departures=tuple(departures),
        )

    @property
    def loss(self) -> float | None:
        """The newest loss, NaN and infinities included."""
        return self.values.get("loss")

    @property
    def has_died(self) -> bool:
        """Whether the loss is not finite."""
        broken = self.loss is not None and not math.isfinite(self.loss)
        return broken or any(one.is_death and one.is_open for one in self.alerts)

    @property
    def open(self) -> list[AlertFacts]:
        """The alerts that stand, notes left out."""
        return [one for one in self.alerts if one.is_open and one.severity != "info"]


def number_of(told: Any) -> float | None:
    """A number as the collector tells it, NaN and infinities as words; None for what is none."""
    if isinstance(told, bool) or not isinstance(told, int | float | str):
        return None
    try:
        return float(told)
    except (ValueError, OverflowError):
        return None


def whole_of(told: Any, otherwise: int) -> int:
    """A whole number, or what stands for one that is missing."""
    return told if isinstance(told, int) else otherwise


def _worse(forward: Any, backward: Any) -> float | None:
    known = [one for one in map(number_of, (forward, backward)) if one is not None]
    return max(known, default=None)


def _layer_gain(summary: Mapping[str, Any]) -> tuple[int, float] | None:
    gain = _worse(summary.get("worst_layer_gain_forward"), summary.get("worst_layer_gain_backward"))
    layer = summary.get("worst_layer")
    return None if gain is None or not isinstance(layer, int) else (layer, gain)

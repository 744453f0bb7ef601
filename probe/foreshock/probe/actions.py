"""What is done about an alert, in the training loop; off until it is armed.

    actions = Actions(SaveCheckpoint(save), LowerRate(optimizer, 0.5), StopCleanly(), armed=True)
    attach(model, optimizer, on_alert=actions)

Unarmed, which is the default, an alert changes nothing: the run's events tell what would have been done.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from foreshock.probe.errors import AttachError, StopTraining
from foreshock.wire import Alert

SEVERITIES: Final = ("info", "warning", "critical")


class Action(Protocol):
    """Something that is done about an alert; `name` stands in the run's events."""

    @property
    def name(self) -> str:
        """A word or two."""

    def __call__(self, alert: Alert) -> None:
        """Does it."""


class Actions:
    """Does several things about every alert that counts, in their order; made to be an `on_alert`.

    An alert counts when it fires, by one of `rules` (none given: by any) and at least as severe as
    `severity`. What an action raises is counted by the probe and keeps none of the others from being done;
    StopTraining ends the training after all of them. Raises AttachError for a severity that is none.
    """

    def __init__(
        self, *actions: Action, rules: Sequence[str] = (), severity: str = "critical", armed: bool = False
    ) -> None:
        if severity not in SEVERITIES:
            raise AttachError(f"severity is {severity!r}; choose one of {', '.join(SEVERITIES)}")
        self._actions, self._rules, self._armed = actions, frozenset(rules), armed
        self._least = SEVERITIES.index(severity)
        self._note: Callable[..., None] = lambda kind, **detail: None

    def notes_by(self, note: Callable[..., None]) -> None:
        """Where events go: the `note` of a probe, which says so at attach."""
        self._note = note

    def __call__(self, alert: Alert) -> None:
        """Does all of it, or notes what would have been done."""
        if not self._counts(alert):
            return
        stop: StopTraining | None = None
        failures = []
        for action in self._actions:
            self._note("action", name=action.name, rule=alert.rule, alert=alert.alert_id, armed=self._armed)
            if not self._armed:
                continue
            try:
                action(alert)
            except StopTraining as raised:
                stop = raised
            except Exception as error:
                failures.append(error)
        if stop is not None:
            raise stop
        if failures:
            raise ExceptionGroup(f"{len(failures)} actions failed", failures)

    def _counts(self, alert: Alert) -> bool:
        is_severe = alert.severity in SEVERITIES and SEVERITIES.index(alert.severity) >= self._least
        return alert.state == "firing" and is_severe and (not self._rules or alert.rule in self._rules)


class StopCleanly:
    """Ends the training at the end of the step, as a run that finished and not as one that crashed."""

    name: Final = "stop"

    def __call__(self, alert: Alert) -> None:
        """Raises StopTraining."""
        raise StopTraining(f"{alert.rule}: {alert.reason}")


class SaveCheckpoint:
    """Calls your function, which keeps the weights as they are now."""

    name: Final = "checkpoint"

    def __init__(self, save: Callable[[Alert], Any]) -> None:
        self._save = save

    def __call__(self, alert: Alert) -> None:
        """Saves."""
        self._save(alert)


class LowerRate:
    """Multiplies the learning rate of every group, at most `at_most` times in all.

    A scheduler that works from rates of its own (`base_lrs`) would put the old rate back: hand it over, and
    its rates are multiplied as well. Raises AttachError for a factor that does not lower.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        factor: float = 0.5,
        *,
        scheduler: Any = None,
        at_most: int = 1,
    ) -> None:
        if not 0 < factor < 1:
            raise AttachError(f"factor is {factor}; give a number between 0 and 1")
        self.name = f"rate x {factor:g}"
        self._optimizer, self._scheduler, self._factor, self._left = optimizer, scheduler, factor, at_most

    def __call__(self, alert: Alert) -> None:
        """Lowers the rate."""
        if self._left <= 0:
            return
        self._left -= 1
        # Older torch keeps one tensor as the rate, the first rate and the scheduler's own
        lowered: dict[int, Tensor] = {}
        for group in self._optimizer.param_groups:
            for name in ("lr", "initial_lr"):
                rate = group.get(name)
                if isinstance(rate, Tensor):
                    lowered[id(rate)] = rate
                elif rate is not None:
                    group[name] = rate * self._factor
        for rate in lowered.values():
            rate.mul_(self._factor)
        if self._scheduler is not None:
            self._scheduler.base_lrs = [
                rate if id(rate) in lowered else rate * self._factor for rate in self._scheduler.base_lrs
            ]


class SwitchRouting:
    """Hands the alert to whoever routes: `trainer.anticipation.alerts.append` of a reference model."""

    name: Final = "anticipatory routing"

    def __init__(self, switch: Callable[[Alert], Any]) -> None:
        self._switch = switch

    def __call__(self, alert: Alert) -> None:
        """Switches."""
        self._switch(alert)

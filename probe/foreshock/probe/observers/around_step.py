"""Before and after an optimizer's step: what observers of the update have in common."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch.utils.hooks import RemovableHandle

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.wire import Cadence

Before = TypeVar("Before")


class AroundStep(Generic[Before]):
    """While the sheet `cadence` is due: `after(before())`, with the optimizer's step between the two.

    Both run under `no_grad` and at the sheet's cost; what they raise is counted as `told`. What `before` has
    taken of a step that never comes is forgotten by `forget`.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        before: Callable[[], Before],
        after: Callable[[Before], None],
        *,
        clock: Clock,
        cadence: Cadence,
        faults: Faults,
        told: str,
    ) -> None:
        self._before, self._after = before, after
        self._clock, self._cadence = clock, cadence
        self._faults, self._told = faults, told
        self._taken: Before | None = None
        self._handles: list[RemovableHandle] = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    def forget(self) -> None:
        """Begins anew: the optimizer has skipped its step, or the step is over."""
        self._taken = None

    def close(self) -> None:
        """Removes the hooks."""
        for handle in self._handles:
            handle.remove()

    def _before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if not self._clock.is_due[self._cadence]:
            return
        try:
            with torch.no_grad(), self._clock.charging(self._cadence):
                self._taken = self._before()
        except Exception as error:
            self._faults.count(self._told, error)

    def _after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        taken, self._taken = self._taken, None
        if taken is None:
            return
        try:
            with torch.no_grad(), self._clock.charging(self._cadence):
                self._after(taken)
        except Exception as error:
            self._faults.count(self._told, error)

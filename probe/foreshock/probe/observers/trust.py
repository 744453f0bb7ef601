"""How far the loss has come down, beside what the gradient promised: a cheap signal of spiking curvature.

    rho = (L(theta) - L(theta + d)) / (-g.d)

is 1 where the loss is a plane, and 1 - d'Hd / (2 (-g.d)) to second order: below 0 the step went uphill, and
for a plain gradient step the curvature along it is then over 2 / rate (arXiv:2506.04805). L(theta + d) takes
one more forward pass of the same batch, which only the training script can make.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from foreshock.probe.clock import Clock
from foreshock.probe.observers.gradient import GradientObserver
from foreshock.probe.observers.observer import Columns, Places
from foreshock.probe.observers.update import UpdateObserver

# Below this share of |g| |d| the step has hardly a direction to have come down by
_LEAST_SHARE: Final = 1e-3


class TrustObserver:
    """Writes the trust ratio of a step whose loss is computed again."""

    columns: Final[Columns] = {"rare": ("trust_ratio",)}

    def __init__(self, update: UpdateObserver, gradient: GradientObserver) -> None:
        self._update, self._gradient = update, gradient

    def start(self, places: Places, clock: Clock) -> None:
        """Nothing is hooked."""
        (self._place,), self._clock = places["rare"], clock

    def end_step(self) -> None:
        """Everything is written by then."""

    def close(self) -> None:
        """Nothing was changed."""

    def measure(self, loss: Tensor, again: Callable[[], Tensor]) -> None:
        """Takes the step's loss, and how to compute it after the update; asks only when it is due."""
        descent = self._update.last
        if not self._clock.is_due["rare"] or descent is None:
            return
        with torch.no_grad(), self._clock.charging("rare"):
            after = again().detach().float()
            # The optimizer was given the gradient as clipping had left it
            promised = descent.along / self._gradient.clip_coefficient()
            is_known = descent.along > _LEAST_SHARE * descent.length
            ratio = (loss.detach().float() - after) / promised
            self._place.copy_(torch.where(is_known, ratio, self._place))

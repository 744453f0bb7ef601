"""What the optimizer does to the parameters, over a sample of every parameter's entries.

The sample is read just before the step and just after it, so it tells the update of any optimizer, and
holds no more than ENTRIES numbers a parameter.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.around_step import AroundStep
from foreshock.probe.observers.measures import local
from foreshock.probe.observers.observer import Columns, Places

ENTRIES: Final = 512
_TINY: Final = 1e-30
# Which parameters have gradients may change, but not at every step
_MAX_KNOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Descent:
    """The last update d beside the gradient g that the optimizer was given: -g.d, and |g| |d|."""

    along: Tensor
    length: Tensor


class UpdateObserver:
    """Writes size, relative size and direction of the update, and Adam's RMS where there is Adam."""

    columns: Final[Columns] = {"slow": ("update_rms", "update_ratio", "update_cosine", "adam_rms")}

    def __init__(
        self, parameters: Iterable[Tensor], optimizer: torch.optim.Optimizer, faults: Faults
    ) -> None:
        self._parameters = [one for one in parameters if one.requires_grad and local(one.detach()).numel()]
        self._optimizer, self._faults = optimizer, faults
        self.last: Descent | None = None
        self._known_weights: dict[tuple[int, ...], Tensor] = {}

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks the optimizer, before and after its step."""
        self._rms, self._ratio, self._cosine, self._adam_rms = places["slow"].unbind()
        self._around = AroundStep(
            self._optimizer,
            # All of them: a closure computes the gradients only after this
            lambda: [_sampled(one).clone() for one in self._parameters],
            self._compare,
            clock=clock,
            cadence="slow",
            faults=self._faults,
            told="observing the update",
        )

    def end_step(self) -> None:
        """Forgets the sample of a step that the optimizer has skipped."""
        self._around.forget()
        self.last = None

    def close(self) -> None:
        """Removes the hooks."""
        self._around.close()

    def _compare(self, before: list[Tensor]) -> None:
        pairs = zip(self._parameters, before, strict=True)
        trained = [(one, sample) for one, sample in pairs if _has_gradient(one)]
        if trained:
            self._write(*map(list, zip(*trained, strict=True)))

    def _write(self, trained: list[Tensor], before: list[Tensor]) -> None:
        weight = self._weights([one.numel() for one in trained], before)
        theta = _joined(before)
        update = _joined([_sampled(one) for one in trained]) - theta
        descent = -_joined([_sampled(_gradient(one)) for one in trained])
        update_square, theta_square = _dot(weight, update, update), _dot(weight, theta, theta)
        self._rms.copy_((update_square / weight.sum()).sqrt())
        self._ratio.copy_((update_square / theta_square.clamp_min(_TINY)).sqrt())
        length = (update_square * _dot(weight, descent, descent)).sqrt()
        along = _dot(weight, update, descent)
        self._cosine.copy_(along / length.clamp_min(_TINY))
        self.last = Descent(along, length)
        self._write_adam_rms()

    def _write_adam_rms(self) -> None:
        """sqrt(mean g^2 / (v_hat + eps^2)) over the parameters that Adam trains."""
        ratios, sizes = list[Tensor](), list[int]()
        for group in self._optimizer.param_groups:
            if "betas" not in group:
                continue
            beta, eps = group["betas"][1], group["eps"]
            for one in group["params"]:
                state = self._optimizer.state.get(one, {})
                if not _has_gradient(one) or "exp_avg_sq" not in state:
                    continue
                second = _sampled(state["exp_avg_sq"]).float() / (1 - beta ** state["step"])
                ratios.append(_sampled(_gradient(one)).float().square() / (second + eps**2))
                sizes.append(one.numel())
        if ratios:
            weight = self._weights(sizes, ratios)
            self._adam_rms.copy_((weight.dot(torch.cat(ratios)) / weight.sum()).sqrt())

    def _weights(self, sizes: list[int], parts: list[Tensor]) -> Tensor:
        """How many entries of the model each sampled one stands for."""
        key = tuple(sizes)
        if key not in self._known_weights:
            if len(self._known_weights) >= _MAX_KNOWN:
                self._known_weights.clear()
            weights = [
                torch.full((len(part),), size / len(part)) for size, part in zip(sizes, parts, strict=True)
            ]
            self._known_weights[key] = torch.cat(weights).to(parts[0].device)
        return self._known_weights[key]


def _sampled(values: Tensor) -> Tensor:
    """Evenly spaced entries, at most ENTRIES; a view where memory allows one.

    The distance shares no factor with the length of a row: else all entries would be of a few columns.
    """
    part = local(values.detach())
    distance = -(-part.numel() // ENTRIES)
    while math.gcd(distance, part.shape[-1] if part.dim() else 1) > 1:
        distance += 1
    return part.reshape(-1)[::distance]


def _has_gradient(parameter: Tensor) -> bool:
    """Whether there is something to sample; a small parameter's part in this process may be empty."""
    gradient = parameter.grad
    return gradient is not None and not gradient.is_sparse and local(gradient).numel() > 0


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None, "only parameters with a gradient are sampled"
    return parameter.grad


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.float() for part in parts])


def _dot(weight: Tensor, one: Tensor, two: Tensor) -> Tensor:
    return (weight * one).dot(two)

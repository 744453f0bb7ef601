"""What the optimizer does to the parameters, over a sample of every parameter's entries.

The sample is read just before the step and just after it, so it tells the update of any optimizer, and
holds no more than ENTRIES numbers a parameter.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.around_step import AroundStep
from foreshock.probe.observers.measures import local, sent
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


@dataclass(frozen=True, slots=True)
class _Entries:
    """How many entries of the model each sampled one stands for, their sum, and whose it is (a number)."""

    weight_E: Tensor
    total: Tensor
    owner_E: Tensor


class UpdateObserver:
    """Writes size, relative size and direction of the update, and Adam's RMS where there is Adam.

    Samples of all parameters lie in one tensor [E]: an operator for each parameter would cost more than
    the numbers are worth.
    """

    columns: Final[Columns] = {"slow": ("update_rms", "update_ratio", "update_cosine", "adam_rms")}

    def __init__(
        self, parameters: Iterable[Tensor], optimizer: torch.optim.Optimizer, faults: Faults
    ) -> None:
        self._parameters = [one for one in parameters if one.requires_grad and local(one.detach()).numel()]
        self._optimizer, self._faults = optimizer, faults
        self.last: Descent | None = None
        self._known: dict[tuple[tuple[int, int], ...], _Entries] = {}

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks the optimizer, before and after its step."""
        self._rms, self._ratio, self._cosine, self._adam_rms = places["slow"].unbind()
        self._around = AroundStep(
            self._optimizer,
            # All of them: a closure computes the gradients only after this
            lambda: _joined([_sampled(one) for one in self._parameters]),
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

    def _compare(self, theta_E: Tensor) -> None:
        trained = [one for one in self._parameters if _has_gradient(one)]
        if not trained:
            return
        now = [_sampled(one) for one in trained]
        if len(trained) < len(self._parameters):
            parts = torch.split(theta_E, [len(_sampled(one)) for one in self._parameters])
            pairs = zip(parts, self._parameters, strict=True)
            theta_E = torch.cat([part for part, one in pairs if _has_gradient(one)])
        gradients = [_sampled(_gradient(one)) for one in trained]
        entries = self._entries(trained, now)
        self._write(theta_E, _joined(now) - theta_E, -_joined(gradients), entries)
        self._write_adam_rms(dict(zip(map(id, trained), gradients, strict=True)))

    def _write(self, theta_E: Tensor, update_E: Tensor, descent_E: Tensor, entries: _Entries) -> None:
        weighted_E = entries.weight_E * update_E
        update_square = weighted_E.dot(update_E)
        theta_square = (entries.weight_E * theta_E).dot(theta_E)
        self._rms.copy_((update_square / entries.total).sqrt())
        self._ratio.copy_((update_square / theta_square.clamp_min(_TINY)).sqrt())
        length = (update_square * (entries.weight_E * descent_E).dot(descent_E)).sqrt()
        along = weighted_E.dot(descent_E)
        self._cosine.copy_(along / length.clamp_min(_TINY))
        self.last = Descent(along, length)

    def _write_adam_rms(self, gradients: dict[int, Tensor]) -> None:
        """sqrt(mean g^2 / (v_hat + eps^2)) over the parameters that Adam trains."""
        trained, seconds, steps, betas, squares = [], [], [], [], []
        for group in self._optimizer.param_groups:
            if "betas" not in group:
                continue
            for one in group["params"]:
                state = self._optimizer.state.get(one, {})
                if id(one) in gradients and "exp_avg_sq" in state:
                    trained.append(one)
                    seconds.append(_sampled(state["exp_avg_sq"]))
                    steps.append(state["step"])
                    betas.append(group["betas"][1])
                    squares.append(group["eps"] ** 2)
        if not trained:
            return
        parts = [gradients[id(one)] for one in trained]
        entries = self._entries(trained, parts)
        steps_P = _stacked(steps, parts[0].device)
        beta_P, square_P = sent(torch.tensor((betas, squares)), steps_P.device)
        both_2P = torch.stack((1 - beta_P**steps_P, square_P))
        bias_E, square_E = sent(both_2P, parts[0].device).index_select(1, entries.owner_E)
        ratio_E = _joined(parts).square() / (_joined(seconds) / bias_E + square_E)
        self._adam_rms.copy_((entries.weight_E.dot(ratio_E) / entries.total).sqrt())

    def _entries(self, parameters: list[Tensor], samples: list[Tensor]) -> _Entries:
        key = tuple((one.numel(), len(sample)) for one, sample in zip(parameters, samples, strict=True))
        if key not in self._known:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            size_P, counts = torch.tensor(key).T
            weight_E = (size_P / counts).repeat_interleave(counts)
            owner_E = torch.arange(len(counts)).repeat_interleave(counts)
            device = samples[0].device
            self._known[key] = _Entries(weight_E.to(device), weight_E.sum().to(device), owner_E.to(device))
        return self._known[key]


def _stacked(steps: list[Any], device: torch.device) -> Tensor:
    """How many steps each parameter has been trained; optimizers count in numbers, or on either side."""
    counts = [local(one) if isinstance(one, Tensor) else torch.tensor(float(one)) for one in steps]
    if len({one.device for one in counts}) > 1:
        counts = [sent(one, device) for one in counts]
    return torch.stack([one.reshape(()) for one in counts]).float()


def _sampled(values: Tensor) -> Tensor:
    """Evenly spaced entries, at most ENTRIES; a view where memory allows one.

    The distance shares no factor with the length of a row: else all entries would be of a few columns.
    """
    part = local(values)
    num_entries = part.numel()
    distance = -(-num_entries // ENTRIES)
    while math.gcd(distance, part.shape[-1] if part.dim() else 1) > 1:
        distance += 1
    if part.is_contiguous():
        return part.as_strided((-(-num_entries // distance),), (distance,))
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

"""Gradient norms and the learning rate, measured where the optimizer is about to step.

Clipping is seen where torch applies it (`clip_grad._clip_grads_with_norm_`), whichever way the
training script imported `clip_grad_norm_`; the norm that it already has is taken from there, so that
watching costs nothing. Without clipping the norm is computed once, before the optimizer steps.
"""

import functools
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.utils import clip_grad
from torch.utils.hooks import RemovableHandle

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.measures import is_spread, local
from foreshock.probe.observers.observer import Columns, Places

_Clip = Callable[..., None]
_lock = threading.Lock()
_watchers: "weakref.WeakSet[GradientObserver]" = weakref.WeakSet()
_original: _Clip | None = None


class GradientObserver:
    """Writes the norm of all gradients and that of layer 0's mapping; keeps rate and threshold."""

    columns: Final[Columns] = {"step": ("grad_norm", "canary_grad_norm")}

    def __init__(
        self,
        parameters: Iterable[Tensor],
        canary_parameters: Iterable[Tensor],
        optimizer: torch.optim.Optimizer | None,
        faults: Faults,
    ) -> None:
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._identities = {id(parameter) for parameter in self._parameters}
        self._canary_parameters = [parameter for parameter in canary_parameters if parameter.requires_grad]
        self._optimizer, self._faults = optimizer, faults
        self.threshold: float | None = None
        self.learning_rate = float("nan")
        self.has_clipped = False
        self.has_stepped = False
        self._handles: list[RemovableHandle] = []

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks the optimizer, and torch's clipping."""
        self.out_norm, self._out_canary_norm = places["step"].unbind()
        self._clock = clock
        if self._optimizer is not None:
            self._handles = [
                self._optimizer.register_step_pre_hook(self._before_step),
                self._optimizer.register_step_post_hook(self._after_step),
            ]
        _watch(self)

    def end_step(self) -> None:
        """Everything is written by then; what the step was is asked before the next begins."""

    def close(self) -> None:
        """Removes the hook, and the wrapper once nobody needs it."""
        for handle in self._handles:
            handle.remove()
        _unwatch(self)

    def next_step(self) -> None:
        """Begins a new step."""
        self.has_clipped = self.has_stepped = False

    def owns(self, parameters: list[Tensor]) -> bool:
        """Whether these are the watched model's parameters."""
        return bool(parameters) and id(parameters[0]) in self._identities

    def clipping(self, threshold: float, total_norm: Tensor) -> None:
        """Called before gradients are scaled, with the norm that torch has computed."""
        try:
            with torch.no_grad(), self._clock.charging("always"):
                self.take_norm(total_norm.detach())
                self._write_canary_norm()
            self.threshold, self.has_clipped = threshold, True
        except Exception as error:
            self._faults.count("observing gradient clipping", error)

    def _before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        try:
            self.has_stepped = True
            rate = optimizer.param_groups[0]["lr"]
            # A rate kept as a tensor on a device would have to be waited for
            if not isinstance(rate, Tensor) or rate.device.type == "cpu":
                self.learning_rate = float(rate)
            # A closure computes the gradients, and clips them, only after this
            if not has_closure(args, kwargs):
                self._write_norms()
        except Exception as error:
            self._faults.count("observing the optimizer", error)

    def _after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if not has_closure(args, kwargs):
            return
        try:
            self._write_norms()
        except Exception as error:
            self._faults.count("observing the optimizer", error)

    def _write_norms(self) -> None:
        if not self.has_clipped:
            with torch.no_grad(), self._clock.charging("always"):
                self._write_norm(self._parameters, self.out_norm)
                self._write_canary_norm()

    def _write_canary_norm(self) -> None:
        self._write_norm(self._canary_parameters, self._out_canary_norm)

    def clip_coefficient(self) -> Tensor:
        """What clipping has multiplied this step's gradients by, as torch computes it; 1 without clipping."""
        if not self.has_clipped or self.threshold is None:
            return torch.ones_like(self.out_norm)
        return (self.threshold / (self.out_norm + 1e-6)).clamp(max=1.0)

    def take_norm(self, norm: Tensor) -> None:
        """Writes a norm that is known already; one that is still to be joined over processes is left out."""
        if is_spread(norm):
            self._tell_spread()
        else:
            self.out_norm.copy_(local(norm).reshape(()))

    def _tell_spread(self) -> None:
        self._faults.tell(
            "spread gradients",
            "gradients are spread over several processes, and to join their norms the probe would have to "
            "wait for all: those that clipping has not joined are left out (probe.step takes a grad_norm)",
        )

    def _write_norm(self, parameters: list[Tensor], out: Tensor) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if any(map(is_spread, gradients)):
            self._tell_spread()
        elif gradients:
            gradients = [local(gradient) for gradient in gradients]
            norms = torch._foreach_norm(gradients)
            out.copy_(torch.linalg.vector_norm(torch.stack([norm.float() for norm in norms])))


def has_closure(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an optimizer's step was given a closure, as its hooks are told: `args` begin with itself."""
    return (len(args) > 1 and args[1] is not None) or kwargs.get("closure") is not None


def _watch(observer: GradientObserver) -> None:
    global _original
    with _lock:
        _watchers.add(observer)
        if _original is None:
            _original = clip_grad._clip_grads_with_norm_
            clip_grad._clip_grads_with_norm_ = _tell_watchers(_original)


def _unwatch(observer: GradientObserver) -> None:
    global _original
    with _lock:
        _watchers.discard(observer)
        if not _watchers and _original is not None:
            clip_grad._clip_grads_with_norm_ = _original
            _original = None


def _tell_watchers(original: _Clip) -> _Clip:
    @functools.wraps(original)
    def clip(parameters: Any, max_norm: float, total_norm: Tensor, *args: Any, **kwargs: Any) -> None:
        if not isinstance(parameters, Tensor):
            parameters = list(parameters)
            for watcher in list(_watchers):
                if watcher.owns(parameters):
                    watcher.clipping(float(max_norm), total_norm)
        original(parameters, max_norm, total_norm, *args, **kwargs)

    return clip

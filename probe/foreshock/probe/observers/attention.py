"""The largest attention logit of each layer, over a sample of queries.

Legend: B batch, H heads, S queries, Z keys, D head width, Q sampled queries.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers import attending
from foreshock.probe.observers.attending import Attended
from foreshock.probe.observers.observer import Columns, Places
from foreshock.probe.observers.staying import StayingHook
from foreshock.wire import per_layer

_NUM_QUERIES: Final = 32


class AttentionObserver:
    """Writes the largest logit of each attention module over some queries, what is masked left out."""

    def __init__(self, modules: Sequence[nn.Module], *, faults: Faults) -> None:
        self._modules, self._faults = modules, faults
        self._written = [False] * len(modules)
        self._identities = [id(module) for module in modules]

    @property
    def columns(self) -> Columns:
        """One series of all attention modules."""
        return {"slow": per_layer(("max_attention_logit",), len(self._modules))}

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks every attention module."""
        self._place_L, self._clock = places["slow"], clock
        self._number = attending.listen(self)
        self._handles: list[RemovableHandle] = []
        for layer, module in enumerate(self._modules):
            self._handles.append(
                module.register_forward_pre_hook(StayingHook(functools.partial(self._enter, layer)))
            )
            self._handles.append(module.register_forward_hook(StayingHook(self._leave), always_call=True))

    def end_step(self) -> None:
        """The next step begins with nothing written."""
        self._written = [False] * len(self._modules)

    def close(self) -> None:
        """Removes the hooks."""
        for handle in self._handles:
            handle.remove()
        attending.end_listening(self._number)

    @property
    def is_listening(self) -> bool:
        """Whether there is anything to be told."""
        return self._clock.is_due["slow"]

    def attending(self, layer: int, attended: Attended) -> None:
        """Called with what attention is about to be computed from."""
        self._write(layer, lambda: _largest_logit(attended))

    def weighing(self, layer: int, logits: Tensor) -> None:
        """Called with logits that are about to become weights."""
        self._write(layer, lambda: self._largest_of(layer, logits.detach()))

    def _largest_of(self, layer: int, logits: Tensor) -> Tensor:
        """The largest of some queries; what it was, where each query's largest has been taken off before."""
        largest_Q = logits.index_select(-2, _queries(logits)).float().amax(-1)
        return torch.where((largest_Q == 0).all(), self._place_L[layer], largest_Q.amax())

    def _write(self, layer: int, measure: Callable[[], Tensor]) -> None:
        """Keeps the largest that the step has shown of a layer."""
        try:
            with torch.no_grad(), self._clock.charging("slow"):
                largest = measure()
                if self._written[layer]:
                    largest = torch.maximum(self._place_L[layer], largest)
                self._place_L[layer].copy_(largest)
                self._written[layer] = True
        except Exception as error:
            self._faults.count("observing attention", error)

    def _enter(self, layer: int, module: nn.Module, args: Any) -> None:
        is_training = module.training and torch.is_grad_enabled()
        if torch.compiler.is_compiling():
            # What is traced must not depend on what is due
            identity = self._identities[layer] if is_training else attending.NOT_TRAINING
            attending.enter_traced(self._number, layer, identity)
        elif is_training and self._clock.is_due["slow"]:
            attending.enter(self, layer, module)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if torch.compiler.is_compiling():
            attending.leave_traced()
        else:
            attending.leave(self, module)


def _queries(values: Tensor) -> Tensor:
    """Evenly spaced places along the last axis but one; the last always, which sees every key."""
    num_queries = values.shape[-2]
    places_Q = torch.linspace(num_queries - 1, 0, min(_NUM_QUERIES, num_queries), device=values.device)
    return places_Q.round().long()


def _largest_logit(attended: Attended) -> Tensor:
    query_BHSD, key_BHZD, mask = attended.query.detach(), attended.key.detach(), attended.mask
    num_keys, places_Q = key_BHZD.shape[-2], _queries(query_BHSD)
    scale = 1 / math.sqrt(query_BHSD.shape[-1]) if attended.scale is None else attended.scale
    query_BHQD = query_BHSD.index_select(-2, places_Q).float().mul_(scale)
    groups = query_BHSD.shape[-3] // key_BHZD.shape[-3] if query_BHSD.dim() > 3 else 1
    if groups > 1:
        key_BHZD = key_BHZD.repeat_interleave(groups, -3)
    logits_BHQZ = query_BHQD @ key_BHZD.float().transpose(-1, -2)
    if attended.is_causal:
        keys_Z = torch.arange(num_keys, device=places_Q.device)
        logits_BHQZ.masked_fill_(keys_Z > places_Q[:, None], -torch.inf)
    if mask is not None:
        if mask.shape[-2] > 1:
            mask = mask.index_select(-2, places_Q)
        is_out = ~mask if mask.dtype == torch.bool else mask == -torch.inf
        logits_BHQZ = logits_BHQZ.masked_fill(is_out, -torch.inf)
        if mask.dtype != torch.bool:
            logits_BHQZ = logits_BHQZ + mask.masked_fill(is_out, 0.0)
    return logits_BHQZ.amax()

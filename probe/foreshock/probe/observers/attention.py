"""The largest attention logit of each layer, where torch computes attention.

`scaled_dot_product_attention` is looked at while a probe's sheet is due, and only inside an attention
module: what calls it is known then. Attention that multiplies by itself, or in a compiled graph, is not seen.

Legend: B batch, H heads, S queries, Z keys, D head width, Q sampled queries.
"""

import functools
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.observer import Columns, Places
from foreshock.wire import per_layer

_Attend = Callable[..., Tensor]
_NUM_QUERIES: Final = 32
_lock = threading.Lock()
# Who watches which module that is being called now, by thread; the innermost last
_inside: dict[int, list[tuple["AttentionObserver", int, nn.Module]]] = {}


class AttentionObserver:
    """Writes the largest logit of each attention module over some queries, what is masked left out."""

    def __init__(self, modules: Sequence[nn.Module], *, faults: Faults) -> None:
        self._modules, self._faults = modules, faults
        self._written = [False] * len(modules)

    @property
    def columns(self) -> Columns:
        """One series of all attention modules."""
        return {"slow": per_layer(("max_attention_logit",), len(self._modules))}

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks every attention module."""
        self._place_L, self._clock = places["slow"], clock
        self._handles: list[RemovableHandle] = []
        for layer, module in enumerate(self._modules):
            self._handles.append(module.register_forward_pre_hook(functools.partial(self._enter, layer)))
            self._handles.append(module.register_forward_hook(self._leave, always_call=True))

    def end_step(self) -> None:
        """The next step begins with nothing written."""
        self._written = [False] * len(self._modules)

    def close(self) -> None:
        """Removes the hooks."""
        for handle in self._handles:
            handle.remove()

    def attending(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        mask: Tensor | None,
        is_causal: bool,
        scale: float | None,
    ) -> None:
        """Called with what attention is about to be computed from."""
        try:
            with torch.no_grad(), self._clock.charging("slow"):
                largest = _largest_logit(query.detach(), key.detach(), mask, is_causal, scale)
                if self._written[layer]:
                    largest = torch.maximum(self._place_L[layer], largest)
                self._place_L[layer].copy_(largest)
                self._written[layer] = True
        except Exception as error:
            self._faults.count("observing attention", error)

    def _enter(self, layer: int, module: nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling() or not (module.training and torch.is_grad_enabled()):
            return
        if not self._clock.is_due["slow"]:
            return
        with _lock:
            _inside.setdefault(threading.get_ident(), []).append((self, layer, module))
            _look()

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        with _lock:
            here = _inside.get(threading.get_ident(), [])
            here[:] = [entry for entry in here if entry[0] is not self or entry[2] is not module]
            if not any(_inside.values()):
                _inside.clear()
                _look_away()


def _largest_logit(
    query_BHSD: Tensor, key_BHZD: Tensor, mask: Tensor | None, is_causal: bool, scale: float | None
) -> Tensor:
    num_queries, num_keys = query_BHSD.shape[-2], key_BHZD.shape[-2]
    # The last query sees every key
    places_Q = torch.linspace(num_queries - 1, 0, min(_NUM_QUERIES, num_queries), device=query_BHSD.device)
    places_Q = places_Q.round().long()
    scale = 1 / math.sqrt(query_BHSD.shape[-1]) if scale is None else scale
    query_BHQD = query_BHSD.index_select(-2, places_Q).float().mul_(scale)
    groups = query_BHSD.shape[-3] // key_BHZD.shape[-3] if query_BHSD.dim() > 3 else 1
    if groups > 1:
        key_BHZD = key_BHZD.repeat_interleave(groups, -3)
    logits_BHQZ = query_BHQD @ key_BHZD.float().transpose(-1, -2)
    if is_causal:
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


# Torch's function, and ours in its place while somebody is inside
_original: _Attend | None = None
_wrapper: _Attend | None = None


def _look() -> None:
    global _original, _wrapper
    if _original is None:
        _original = F.scaled_dot_product_attention
        _wrapper = F.scaled_dot_product_attention = _telling(_original)


def _look_away() -> None:
    global _original, _wrapper
    # Whoever has put something else there meanwhile knows what was there before
    if _original is not None and F.scaled_dot_product_attention is _wrapper:
        F.scaled_dot_product_attention = _original
    _original = _wrapper = None


def _telling(original: _Attend) -> _Attend:
    @functools.wraps(original)
    def attend(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **options: Any,
    ) -> Tensor:
        here = _inside.get(threading.get_ident(), [])
        for observer, layer, module in here:
            if module is here[-1][2]:
                observer.attending(layer, query, key, attn_mask, is_causal, options.get("scale"))
        return original(query, key, value, attn_mask, dropout_p, is_causal, **options)

    return attend

"""Looking at attention while a module computes it, whichever way it does.

Three are known: torch's `scaled_dot_product_attention`, the `eager_attention_forward` of HF transformers'
model files, and a softmax over the last axis in code that multiplies by itself. Each is replaced by one that
tells and then calls the original, only while a module that is watched is being called, and only for calls
from inside it in that thread.

torch.compile traces a module once and calls it no more. The first of the three is traced with an operator
that tells when the graph runs; so it stays replaced for as long as anybody listens.
"""

import functools
import itertools
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foreshock.probe.observers.opaque import opaque, token

_EAGER: Final = "eager_attention_forward"
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Attended:
    """What logits are computed from: `query` [.., H, S, D], `key` [.., H or fewer, Z, D], a mask.

    `scale` is None where it is 1 / sqrt D.
    """

    query: Tensor
    key: Tensor
    mask: Tensor | None
    is_causal: bool
    scale: float | None


class Listener(Protocol):
    """Who is told what attention is computed from; `layer` is the number that it has entered with."""

    def attending(self, layer: int, attended: Attended) -> None:
        """Queries and keys, before they are multiplied."""

    def weighing(self, layer: int, logits: Tensor) -> None:
        """Logits [.., Q, Z], masked already, of attention that was not told by `attending`."""

    @property
    def is_listening(self) -> bool:
        """Whether a compiled graph is to tell now."""


@dataclass(slots=True)
class _Visit:
    listener: Listener
    layer: int
    module: nn.Module
    is_told: bool = False


# Who watches which module that is being called now, by thread; the innermost last
_inside: dict[int, list[_Visit]] = {}
# The same of modules that are being traced: number of the listener, layer, identity of the module. Plain
# numbers, which a trace can follow
_traced: list[tuple[int, int, int]] = []
_listening: dict[int, Listener] = {}
_numbers: Final = itertools.count()
_token: Final = token()
NOT_TRAINING: Final = 0


class _Patch:
    """One function in the place of another, until `undo`."""

    def __init__(self, owner: Any, name: str, telling: Callable[[Any], Any]) -> None:
        self._owner, self._name = owner, name
        self._was_own = name in vars(owner)
        self._original = getattr(owner, name)
        self._wrapper = functools.wraps(self._original)(telling(self._original))
        setattr(owner, name, self._wrapper)

    def undo(self) -> None:
        # Whoever has put something else there meanwhile knows what was there before
        if vars(self._owner).get(self._name) is not self._wrapper:
            return
        if self._was_own:
            setattr(self._owner, self._name, self._original)
        else:
            delattr(self._owner, self._name)


_patches: dict[int, _Patch] = {}
# What stays in place for compiled graphs: one patch, or none
_lasting: list[_Patch] = []


def listen(listener: Listener) -> int:
    """Begins to hear of compiled graphs; returns the listener's number."""
    with _lock:
        number = next(_numbers)
        _listening[number] = listener
        if len(_listening) == 1:
            _lasting.append(_Patch(F, "scaled_dot_product_attention", _telling_scaled))
    return number


def end_listening(number: int) -> None:
    """Ends it; torch is as it was once nobody listens."""
    with _lock:
        _listening.pop(number, None)
        if not _listening and _lasting:
            _lasting.pop().undo()


def enter_traced(number: int, layer: int, identity: int) -> None:
    """As `enter`, while a module is traced; one that is NOT_TRAINING tells nothing."""
    _traced.append((number, layer, identity))


def leave_traced() -> None:
    """As `leave`, while a module is traced."""
    _traced.pop()


def enter(listener: Listener, layer: int, module: nn.Module) -> None:
    """Begins to look at what `module` does in this thread."""
    with _lock:
        _inside.setdefault(threading.get_ident(), []).append(_Visit(listener, layer, module))
        _look(torch, "softmax", _telling_softmax)
        _look(Tensor, "softmax", _telling_softmax)
        file = sys.modules.get(type(module).__module__)
        if file is not None and hasattr(file, _EAGER):
            _look(file, _EAGER, _telling_eager)


def leave(listener: Listener, module: nn.Module) -> None:
    """Ends it; torch is as it was once nobody looks."""
    with _lock:
        here = _inside.get(threading.get_ident(), [])
        here[:] = [visit for visit in here if visit.listener is not listener or visit.module is not module]
        if not any(_inside.values()):
            _inside.clear()
            for patch in _patches.values():
                patch.undo()
            _patches.clear()


def _look(owner: Any, name: str, telling: Callable[[Any], Any]) -> None:
    if id(owner) not in _patches:
        _patches[id(owner)] = _Patch(owner, name, telling)


def _innermost() -> list[_Visit]:
    """Everybody who watches the innermost module of this thread."""
    here = [] if torch.compiler.is_compiling() else _inside.get(threading.get_ident(), [])
    return [visit for visit in here if visit.module is here[-1].module]


def _tell(attended: Attended) -> None:
    for visit in _innermost():
        visit.is_told = True
        visit.listener.attending(visit.layer, attended)


def _telling_scaled(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def attend(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **options: Any,
    ) -> Tensor:
        scale = options.get("scale")
        if not torch.compiler.is_compiling():
            _tell(Attended(query, key, attn_mask, is_causal, scale))
        elif _traced:
            given = query.detach(), key.detach(), None if attn_mask is None else attn_mask.detach()
            for number, layer, identity in _traced:
                if identity == _traced[-1][2] != NOT_TRAINING:
                    torch.ops.foreshock.attended(_token, number, layer, is_causal, scale, *given)
        return original(query, key, value, attn_mask, dropout_p, is_causal, **options)

    return attend


def _telling_eager(original: Callable[..., Any]) -> Callable[..., Any]:
    def attend(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        *args: Any,
        **options: Any,
    ) -> Any:
        scale = options.get("scaling", args[0] if args else None)
        _tell(Attended(query, key, attention_mask, False, scale))
        return original(module, query, key, value, attention_mask, *args, **options)

    return attend


def _telling_softmax(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def softmax(values: Tensor, dim: Any = None, *args: Any, **options: Any) -> Tensor:
        if isinstance(dim, int) and values.dim() >= 3 and dim in (-1, values.dim() - 1):
            for visit in _innermost():
                if not visit.is_told:
                    visit.listener.weighing(visit.layer, values)
        return original(values, dim, *args, **options)

    return softmax


@opaque(
    "foreshock::attended",
    "SymInt number, SymInt layer, bool is_causal, float? scale, Tensor query, Tensor key, Tensor? mask",
)
def _attended(
    token: Tensor,
    number: int,
    layer: int,
    is_causal: bool,
    scale: float | None,
    query: Tensor,
    key: Tensor,
    mask: Tensor | None,
) -> None:
    """Tells a listener, if it still listens, what attention in a compiled graph is computed from."""
    listener = _listening.get(number)
    if listener is not None and listener.is_listening:
        listener.attending(layer, Attended(query, key, mask, is_causal, scale))

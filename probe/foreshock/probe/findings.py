"""What of a model can be watched, found by looking at it.

Recognised are forms, not names of classes alone: a SwiGLU by its projections, a head by its shape. What is
not recognised is left alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from foreshock.probe.adapters import find_mixing, find_routers
from foreshock.probe.observers.mixed import MixingPoint
from foreshock.probe.observers.routing import RoutingPoint
from foreshock.probe.observers.staying import HookedMethod
from foreshock.probe.observers.swiglu import GatedForm, GatedParts, GatedUnit

Named: TypeAlias = tuple[str, nn.Module]
Kind = TypeVar("Kind", bound=nn.Module)

# (gate, linear) as HF, and Llama's own code, call them
_GATED_PAIRS = (("gate_proj", "up_proj"), ("w1", "w3"))
_GATED_WHOLE = ("gate_up_proj", "up")
_GATE = "_apply_gate"


@dataclass(frozen=True, slots=True)
class Findings:
    """The parts of one model, each in the order of its layers."""

    mixing: tuple[MixingPoint, ...]
    blocks: tuple[Named, ...]
    embedding: tuple[str, nn.Embedding] | None
    head: Named | None
    norms: tuple[Named, ...]
    attention: tuple[Named, ...]
    gated: tuple[GatedUnit, ...]
    routers: tuple[RoutingPoint, ...]


def look_at(model: nn.Module, named: Mapping[str, str] | None = None) -> Findings:
    """Looks at a model without calling it; `named` are mixings that the user names (adapters/named.py)."""
    embedding = next(_of_kind(model, nn.Embedding), None)
    return Findings(
        mixing=tuple(find_mixing(model, named)),
        blocks=_blocks(model),
        embedding=embedding,
        head=_head(model, embedding[1]) if embedding else None,
        norms=_norms(model, embedding[1].embedding_dim if embedding else None),
        attention=_attention(model),
        gated=_gated(model),
        routers=tuple(find_routers(model)),
    )


def _of_kind(model: nn.Module, kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, kind))


def _head(model: nn.Module, embedding: nn.Embedding) -> Named | None:
    """The last linear map from the model's width to the vocabulary."""
    shape = (embedding.num_embeddings, embedding.embedding_dim)
    heads = [named for named in _of_kind(model, nn.Linear) if tuple(named[1].weight.shape) == shape]
    return heads[-1] if heads else None


def _blocks(model: nn.Module) -> tuple[Named, ...]:
    """The longest list of modules of one class that hold a normalisation each: a decoder's blocks."""
    lists = [
        (f"{name}.", tuple(holder))
        for name, holder in _of_kind(model, nn.ModuleList)
        if len(holder) > 1 and len({type(block) for block in holder}) == 1 and _holds_norm(holder[0])
    ]
    prefix, blocks = max(lists, key=lambda found: len(found[1]), default=("", ()))
    return tuple((f"{prefix}{number}", block) for number, block in enumerate(blocks))


def _holds_norm(module: nn.Module) -> bool:
    return any("norm" in type(part).__name__.lower() for part in module.modules())


def _norms(model: nn.Module, width: int | None) -> tuple[Named, ...]:
    """Normalisations of the stream: those of single heads have narrower weights."""
    return tuple(
        (name, module)
        for name, module in model.named_modules()
        if "norm" in type(module).__name__.lower()
        and isinstance(weight := getattr(module, "weight", None), Tensor)
        and weight.dim() == 1
        and (width is None or len(weight) == width)
    )


def _attention(model: nn.Module) -> tuple[Named, ...]:
    """Modules called attention that hold no other such module."""
    named = [
        (name, module)
        for name, module in model.named_modules()
        if type(module).__name__.lower().endswith("attention")
    ]
    return tuple(one for one in named if not any(other.startswith(f"{one[0]}.") for other, _ in named))


def _gated(model: nn.Module) -> tuple[GatedUnit, ...]:
    """Every SwiGLU; the experts of one list count as one layer, and a shared expert beside it with them."""
    layers: dict[str, int] = {}
    units = []
    for name, module in model.named_modules():
        found = _gated_parts(module) or _told_by_experts(module)
        if found is not None:
            layer = layers.setdefault(_layer_name(name), len(layers))
            units.append(GatedUnit(name, layer, found[0], _clamp(module), found[1]))
    return tuple(units)


def _gated_parts(module: nn.Module) -> tuple[GatedParts, GatedForm] | None:
    children = dict(module.named_children())
    for pair in _GATED_PAIRS:
        if all(isinstance(children.get(name), nn.Linear) for name in pair):
            return tuple(children[name] for name in pair), "outputs"
    for whole, narrow in product(_GATED_WHOLE, ("down_proj", "down")):
        both, down = children.get(whole), children.get(narrow)
        if isinstance(both, nn.Linear) and isinstance(down, nn.Linear):
            if both.out_features == 2 * down.in_features:
                return (both,), "outputs"
    return None


def _told_by_experts(module: nn.Module) -> tuple[GatedParts, GatedForm] | None:
    """What is called for each of HF's experts, whose projections are one tensor.

    A method of the class's own (gpt-oss, DeepSeek-V4), which is given both parts before they are clamped;
    else the activation. A class that has no such method may be given one by HF, and not call it.
    """
    weight, activation = getattr(module, "gate_up_proj", None), getattr(module, "act_fn", None)
    if not isinstance(weight, nn.Parameter) or weight.dim() != 3:
        return None
    if getattr(getattr(type(module), _GATE, None), "__name__", None) == _GATE:
        is_in_halves = getattr(module, "is_concatenated", True)
        return (HookedMethod(module, _GATE),), "halves" if is_in_halves else "alternating"
    return ((activation,), "gate") if isinstance(activation, nn.Module) else None


def _layer_name(name: str) -> str:
    """The sub-layer that a unit belongs to: experts and shared experts carry the name of what holds them."""
    name += "."
    for part in (".experts.", ".shared"):
        name = name.partition(part)[0]
    return name.rstrip(".")


def _clamp(module: nn.Module) -> float | None:
    for name in ("clamp", "swiglu_limit", "limit"):
        value = getattr(module, name, None)
        if isinstance(value, float | int) and value > 0:
            return float(value)
    return None


def device_of(model: nn.Module) -> torch.device:
    """Where the model is: its first parameter's device."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))

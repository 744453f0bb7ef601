"""How the parts of models that others wrote are read: an adapter for each form that they come in."""

from collections.abc import Mapping

from torch import nn

from foreshock.probe.adapters.deepseek_v4 import find_deepseek_v4
from foreshock.probe.adapters.liger import find_liger
from foreshock.probe.adapters.lucidrains import find_lucidrains
from foreshock.probe.adapters.named import find_named
from foreshock.probe.adapters.own import find_declared
from foreshock.probe.adapters.routers import find_routers
from foreshock.probe.observers.mixed import MixingPoint

__all__ = ["find_mixing", "find_routers"]


def find_mixing(model: nn.Module, named: Mapping[str, str] | None = None) -> list[MixingPoint]:
    """The mixings of a model, in its order of layers: those that are `named`, else all that are known.

    Raises AttachError for names that fit nothing.
    """
    if named:
        return find_named(model, named)
    finders = (find_declared, find_deepseek_v4, find_lucidrains, find_liger)
    order = {id(module): place for place, module in enumerate(model.modules())}
    points = [point for find in finders for point in find(model)]
    return sorted(points, key=lambda point: order[id(point.module)])

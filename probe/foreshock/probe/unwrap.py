"""From what a training script holds to what is trained: wrappers around models and optimizers taken off."""

from typing import Any

import torch
from torch import nn

# By the attribute that holds what is wrapped: torch.compile's, DistributedDataParallel's and DataParallel's
_COMPILED = "_orig_mod"
_PARALLEL = (nn.parallel.DistributedDataParallel, nn.DataParallel)


def unwrapped_model(model: nn.Module) -> nn.Module:
    """The module inside of torch.compile, DistributedDataParallel and DataParallel."""
    while True:
        inner: Any = None
        if isinstance(model, _PARALLEL):
            inner = model.module
        elif isinstance(getattr(model, _COMPILED, None), nn.Module):
            inner = getattr(model, _COMPILED)
        if inner is None:
            return model
        model = inner


def unwrapped_optimizer(optimizer: Any) -> torch.optim.Optimizer | None:
    """The torch optimizer inside of Accelerate's, Lightning's and others that keep it as `optimizer`."""
    seen = 0
    while isinstance(inner := getattr(optimizer, "optimizer", None), torch.optim.Optimizer) and seen < 8:
        optimizer, seen = inner, seen + 1
    return optimizer if isinstance(optimizer, torch.optim.Optimizer) else None

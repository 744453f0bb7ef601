"""Hyper-connections of HF transformers' DeepSeek-V4 (arXiv:2606.19348)."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from foreshock.probe.observers.mixed import Mixed, MixingPoint

_CLASS = "DeepseekV4HyperConnection"


class DeepseekV4Mixing:
    """Takes the streams [B, S, n, C], returns (post, comb, collapsed); the layer applies comb transposed."""

    how = "transformers' DeepSeek-V4: the second it returns, applied transposed: h_res = comb^T"

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module

    def parameters(self) -> Iterable[Tensor]:
        """All of the module's."""
        return self.module.parameters()

    def start(self) -> None:
        """Nothing is needed."""

    def read(self, args: tuple[Any, ...], output: Any) -> Mixed:
        """What it returned; h_pre stays inside."""
        post, comb, _ = output
        return Mixed(args[0], comb.transpose(-1, -2), h_post=post)

    def close(self) -> None:
        """Nothing was changed."""


def find_deepseek_v4(model: nn.Module) -> list[MixingPoint]:
    """Every hyper-connection of DeepSeek-V4, in the model's order: attention's, then the experts'."""
    return [
        DeepseekV4Mixing(name, module)
        for name, module in model.named_modules()
        if type(module).__name__ == _CLASS
    ]

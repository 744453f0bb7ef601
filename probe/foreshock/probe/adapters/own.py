"""Mixings that say what they are: those of the reference models, and any module that does as they do."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from foreshock.probe.observers.mixed import Mixed, MixingPoint


class DeclaredMixing:
    """A module with `is_stream_mixing = True`: it takes x [B, S, n, C] and returns (h_pre, h_post, h_res).

    One that also has `watches_statistics = False` is asked for more: it is set to True, and the
    SinkhornStatistics of h_res are found in `statistics` after each forward, instead of a second pass.
    """

    how = "says so (is_stream_mixing); h_res is the third it returns, x'_i = sum_j h_res_ij x_j"

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module

    def parameters(self) -> Iterable[Tensor]:
        """All of the module's."""
        return self.module.parameters()

    def start(self) -> None:
        """Asks for statistics."""
        self.tell(True)

    def read(self, args: tuple[Any, ...], output: Any) -> Mixed:
        """What it returned."""
        h_pre, h_post, h_res = output
        # Another probe that is detached may have ended the telling: then it is measured
        told = getattr(self.module, "statistics", None) if self._is_telling else None
        return Mixed(args[0], h_res, h_pre, h_post, told)

    def close(self) -> None:
        """Asks for them no more."""
        self.tell(False)

    @property
    def _is_telling(self) -> bool:
        return bool(getattr(self.module, "watches_statistics", False))

    def tell(self, is_asked: bool) -> None:
        """Asks the module for statistics, where it knows of such."""
        if hasattr(self.module, "watches_statistics"):
            self.module.watches_statistics = is_asked  # type: ignore[assignment]


def find_declared(model: nn.Module) -> list[MixingPoint]:
    """Every declared mixing, in the model's order."""
    return [
        DeclaredMixing(name, module)
        for name, module in model.named_modules()
        if getattr(module, "is_stream_mixing", False)
    ]

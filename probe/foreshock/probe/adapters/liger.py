"""liger-kernel's `LigerMHC`, whose coefficients are local to its forward pass.

`liger_mhc_coeffs` is replaced in the module that calls it, for as long as a probe reads it, by one that also
hands its result to the layer inside whose forward pass it was called. x'_i = sum_j h_res_ij x_j.
"""

import importlib
import threading
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from foreshock.probe.observers.mixed import Mixed, MixingPoint

_HOME = "liger_kernel.transformers.mhc"
_FUNCTION = "liger_mhc_coeffs"
_lock = threading.Lock()
_points: list["LigerMixing"] = []
_original: Callable[..., Any] | None = None


class LigerMixing:
    """One LigerMHC."""

    how = "liger-kernel's mHC: what liger_mhc_coeffs returns, h_res third"

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module
        self._own = {id(parameter) for parameter in module.parameters(recurse=False)}
        self.kept: tuple[Tensor, Tensor, Tensor] | None = None

    def parameters(self) -> Iterable[Tensor]:
        """The module's own, not its layer's."""
        return self.module.parameters(recurse=False)

    def start(self) -> None:
        """Listens to the function."""
        global _original
        with _lock:
            _points.append(self)
            if _original is None:
                home = importlib.import_module(_HOME)
                _original = getattr(home, _FUNCTION)
                setattr(home, _FUNCTION, _telling(_original))

    def read(self, args: tuple[Any, ...], output: Any) -> Mixed | None:
        """What the forward pass has left behind."""
        kept, self.kept = self.kept, None
        if kept is None:
            return None
        h_pre, h_post, h_res = kept
        return Mixed(args[0], h_res, h_pre, h_post)

    def close(self) -> None:
        """Listens no more; the last one out puts the function back."""
        global _original
        with _lock:
            if self in _points:
                _points.remove(self)
            if not _points and _original is not None:
                setattr(importlib.import_module(_HOME), _FUNCTION, _original)
                _original = None

    def owns(self, weight: Tensor) -> bool:
        """Whether the function was called with this layer's weight."""
        return id(weight) in self._own


def _telling(original: Callable[..., Any]) -> Callable[..., Any]:
    def coefficients(x: Tensor, phi: Tensor, *args: Any, **options: Any) -> Any:
        result = original(x, phi, *args, **options)
        if not torch.compiler.is_compiling() and isinstance(result, tuple) and len(result) == 3:
            for point in [point for point in _points if point.owns(phi)]:
                h_pre, h_post, h_res = (part.detach() for part in result)
                point.kept = h_pre, h_post, h_res
        return result

    return coefficients


def find_liger(model: nn.Module) -> list[MixingPoint]:
    """Every LigerMHC, in the model's order."""
    return [
        LigerMixing(name, module)
        for name, module in model.named_modules()
        if type(module).__name__ == "LigerMHC" and type(module).__module__ == _HOME
    ]

"""lucidrains' `hyper-connections`: HC and mHC, whose matrices never leave the method that makes them.

alpha [.., s, 1 + t] weighs stream s for the branch's input and for each new stream t, so
h_pre_s = alpha_s0 and h_res_ts = alpha_s(1 + t): stored transposed. HC makes it of what `act` returns, mHC of
what `residual_mix_constraint_fn` returns, so both are read there. Streams lie in the batch axis,
(b s) .. d. Not read: fractions and several proposals or input views, whose matrices are of other shapes.

Legend: B batch, S tokens, n streams, C width.
"""

import operator
from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from foreshock.probe.observers.mixed import Mixed, MixingPoint
from foreshock.probe.observers.staying import StayingHook

_PACKAGE: Final = "hyper_connections"
_CONSTRAINT: Final = "residual_mix_constraint_fn"


class LucidrainsMixing:
    """What both kinds share: the streams, and that a matrix is kept from within a forward pass."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module
        self._kept: Tensor | None = None

    def parameters(self) -> Iterable[Tensor]:
        """The module's own, not its branch's."""
        return self.module.parameters(recurse=False)

    def _streams(self, args: tuple[Any, ...]) -> Tensor:
        """The streams [B, .., n, C] of a forward pass, whose first argument has them in the batch axis."""
        num_streams: int = self.module.num_residual_streams  # type: ignore[assignment]
        streams: Tensor = args[0].unflatten(0, (-1, num_streams)).movedim(1, -2)
        return streams

    def _take(self) -> Tensor | None:
        """What was kept within the forward pass that has just ended, once."""
        kept, self._kept = self._kept, None
        return kept


class UnconstrainedMixing(LucidrainsMixing):
    """HC: alpha = act(norm(x) W) * scale + static; the first call of `act` in a forward pass is alpha's."""

    how = "hyper-connections' HC: static_alpha + scale * act(..) without its first column, transposed"

    def start(self) -> None:
        """Listens to `act`."""
        self._handle: RemovableHandle = self.module.act.register_forward_hook(StayingHook(self._keep))  # type: ignore[union-attr]

    def close(self) -> None:
        """Listens no more."""
        self._handle.remove()
        self._kept = None

    def _keep(self, act: nn.Module, args: Any, dynamic: Tensor) -> None:
        if self._kept is None and isinstance(dynamic, Tensor) and dynamic.dim() > 2:
            self._kept = dynamic.detach()

    def read(self, args: tuple[Any, ...], output: Any) -> Mixed | None:
        """alpha, taken apart; None where `act` was not called."""
        kept = self._take()
        if kept is None:
            return None
        scale, static = (self.module.get_parameter(name) for name in ("dynamic_alpha_scale", "static_alpha"))
        # The axis of fractions, of which there is one, stands before the streams
        alpha_BSst = (kept * scale + static).squeeze(-3)
        return Mixed(self._streams(args), alpha_BSst[..., 1:].transpose(-1, -2), h_pre=alpha_BSst[..., 0])


class ConstrainedMixing(LucidrainsMixing):
    """mHC: `residual_mix_constraint_fn` takes the logits and returns the doubly stochastic part of alpha."""

    how = "hyper-connections' mHC: what residual_mix_constraint_fn returns, transposed"

    def start(self) -> None:
        """Listens to the constraint, beside other probes' listeners."""
        constraint: Any = self.module.residual_mix_constraint_fn
        if not isinstance(constraint, _HeardConstraint):
            constraint = _HeardConstraint(constraint)
            setattr(self.module, _CONSTRAINT, constraint)
        constraint.listeners.append(self)

    def close(self) -> None:
        """Listens no more; the last one out gives the constraint its place back."""
        constraint: Any = self.module.residual_mix_constraint_fn
        if isinstance(constraint, _HeardConstraint):
            constraint.listeners.remove(self)
            if not constraint.listeners:
                setattr(self.module, _CONSTRAINT, constraint.original)
        self._kept = None

    def keep(self, matrix: Tensor) -> None:
        """Called with what the constraint has returned."""
        self._kept = matrix

    def read(self, args: tuple[Any, ...], output: Any) -> Mixed | None:
        """The constraint's matrix; None where it was not called."""
        kept = self._take()
        if kept is None:
            return None
        # Proposals and fractions, of which there is one each, stand before batch and streams
        return Mixed(self._streams(args), kept.squeeze(0).squeeze(-3).transpose(-1, -2))


class _HeardConstraint:
    """A constraint that also tells its listeners what it returns."""

    def __init__(self, original: Callable[[Tensor], Tensor]) -> None:
        self.original = original
        self.listeners: list[ConstrainedMixing] = []

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of the model has the constraint itself
        return operator.getitem, ((self.original,), 0)

    def __call__(self, logits: Tensor) -> Tensor:
        matrix = self.original(logits)
        if not torch.compiler.is_compiling():
            for listener in self.listeners:
                listener.keep(matrix.detach())
        return matrix


def find_lucidrains(model: nn.Module) -> list[MixingPoint]:
    """Every HC and mHC of the package that can be read, in the model's order."""
    points: list[MixingPoint] = []
    for name, module in model.named_modules():
        kind = type(module)
        if kind.__module__.partition(".")[0] != _PACKAGE or not _is_plain(module):
            continue
        if hasattr(module, "residual_mix_constraint_fn"):
            points.append(ConstrainedMixing(name, module))
        elif hasattr(module, "dynamic_alpha_scale") and isinstance(getattr(module, "act", None), nn.Module):
            points.append(UnconstrainedMixing(name, module))
    return points


def _is_plain(module: nn.Module) -> bool:
    names = ("num_fracs", "num_input_views", "num_dynamic_alpha_proposals")
    is_single = all(getattr(module, name, 1) == 1 for name in names)
    return is_single and not getattr(module, "channel_first", False)

"""Forward hooks as the observers want them: in training only, in eager mode only, and never raising."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from foreshock.probe.faults import Faults

Observe: TypeAlias = Callable[[int, nn.Module, tuple[Any, ...], Any], None]


class ForwardHooks:
    """Calls `observe(place, module, args, output)` after every forward of each module that trains.

    `place` is the module's number among `modules`, of which None are passed over. Whatever `observe` raises
    is counted as `told`.
    """

    def __init__(
        self, modules: Sequence[nn.Module | None], observe: Observe, faults: Faults, told: str
    ) -> None:
        self._observe, self._faults, self._told = observe, faults, told
        self._handles: list[RemovableHandle] = [
            module.register_forward_hook(_Hook(self, place))
            for place, module in enumerate(modules)
            if module is not None
        ]

    def close(self) -> None:
        """Removes the hooks."""
        for handle in self._handles:
            handle.remove()

    def called(self, place: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """What each hook does."""
        if not module.training or torch.compiler.is_compiling():
            return
        try:
            with torch.no_grad():
                self._observe(place, module, args, output)
        except Exception as error:
            self._faults.count(self._told, error)


class _Hook:
    def __init__(self, hooks: ForwardHooks, place: int) -> None:
        self._hooks, self._place = hooks, place

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._hooks.called(self._place, module, args, output)

"""Forward hooks as the observers want them: in training only, never raising, and also in compiled graphs.

An eager hook measures at once. Inside torch.compile a hook is traced, so it only picks its tensors and hands
them to one opaque operator; that calls the same measurement when the graph runs. What is due is asked there,
not in the trace, so nothing of the probe's is guarded on and nothing recompiles.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from time import perf_counter
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor, nn

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.opaque import opaque, token
from foreshock.probe.observers.staying import HookedMethod, StayingHook
from foreshock.wire import Cadence

Tensors: TypeAlias = Sequence[Tensor | None]
Pick: TypeAlias = Callable[[int, nn.Module, tuple[Any, ...], Any], Tensors | None]
Measure: TypeAlias = Callable[[int, Tensors], None]

_listening: Final[dict[int, "ForwardHooks"]] = {}
_numbers: Final = count()


class ForwardHooks:
    """After every forward of each module that trains: `measure(place, pick(place, module, args, output))`.

    A pass without gradients, or of a module that is not in training, is left out unless `of_any_pass`.

    `place` is the module's number among `modules`, of which None are passed over. `pick` chooses tensors, or
    None for nothing to measure, and must be traceable; `measure` is called while the sheet `cadence` is due,
    runs under `no_grad` and at the sheet's cost, and what it raises is counted as `told`. Tensors come with
    their history: what is kept of one, and not computed from it, must be detached. `keeps` are the places of
    those among the picked; a compiled graph hands over copies of them, since it uses their memory again.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module | HookedMethod | None],
        pick: Pick,
        measure: Measure,
        *,
        clock: Clock,
        cadence: Cadence,
        faults: Faults,
        told: str,
        of_any_pass: bool = False,
        keeps: tuple[int, ...] = (),
    ) -> None:
        self._of_any_pass = of_any_pass
        self._pick, self._measure = pick, measure
        self._clock, self._cadence = clock, cadence
        self._faults, self._told = faults, told
        self._keeps = keeps
        self.are_compiled = False
        self._token = token()
        self._number = next(_numbers)
        _listening[self._number] = self
        self._handles = [
            module.register_forward_hook(StayingHook(partial(self.called, place)))
            for place, module in enumerate(modules)
            if module is not None
        ]

    def close(self) -> None:
        """Removes the hooks; what is compiled already goes on and tells nobody."""
        for handle in self._handles:
            handle.remove()
        _listening.pop(self._number, None)

    def called(self, place: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """What each hook does."""
        if not (self._of_any_pass or (module.training and torch.is_grad_enabled())):
            return
        if torch.compiler.is_compiling():
            try:
                tensors = self._pick(place, module, args, output)
            except Exception:
                tensors = ()  # a trace cannot tell; the graph does, with nothing to measure
            if tensors is not None:
                picked = [None if one is None else one.detach() for one in tensors]
                torch.ops.foreshock.observed(self._token, self._number, place, picked)
            return
        if not self._clock.is_due[self._cadence]:
            return
        try:
            tensors = self._pick(place, module, args, output)
            if tensors is not None:
                self.measured(place, tensors)
        except Exception as error:
            self._faults.count(self._told, error)

    def replayed(self, place: int, tensors: Tensors) -> None:
        """Measures what a compiled graph has picked, if it is due."""
        self.are_compiled = True
        if self._clock.is_due[self._cadence]:
            numbered = enumerate(tensors)
            self.measured(place, [_copy(one) if number in self._keeps else one for number, one in numbered])

    def measured(self, place: int, tensors: Tensors) -> None:
        """Measures, whether it is due or not."""
        begun = perf_counter()
        try:
            if not tensors:
                raise LookupError("a compiled graph could not pick what is to be measured")
            with torch.no_grad():
                self._measure(place, tensors)
        except Exception as error:
            self._faults.count(self._told, error)
        self._clock.charge(self._cadence, begun)


def _copy(one: Tensor | None) -> Tensor | None:
    return None if one is None else one.clone()


def first_argument(place: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensors | None:
    """Picks what the module was called with, where that is a tensor."""
    return (args[0],) if args and isinstance(args[0], Tensor) else None


def whole_output(place: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensors | None:
    """Picks what the module returned, where that is a tensor."""
    return (output,) if isinstance(output, Tensor) else None


@opaque("foreshock::observed", "SymInt number, SymInt place, Tensor?[] tensors")
def _observed(token: Tensor, number: int, place: int, tensors: Sequence[Tensor | None]) -> None:
    """Hands the tensors of a compiled graph to the hooks of this number, if they still listen."""
    hooks = _listening.get(number)
    if hooks is not None:
        hooks.replayed(place, tensors)

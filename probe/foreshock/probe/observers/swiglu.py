"""SwiGLU's inputs beside its clamp.

Legend: R rows (tokens), H hidden width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.hooks import ForwardHooks, Tensors, first_argument, whole_output
from foreshock.probe.observers.observer import Columns, Places
from foreshock.probe.observers.staying import HookedMethod
from foreshock.wire import per_layer

# DeepSeek-V4's, which is also what a SwiGLU without a clamp is held against
CLAMP: Final = 10.0
_SHARE_ABOVE: Final = 1e-3
_NUM_ROWS: Final = 64


GatedParts: TypeAlias = tuple[nn.Module | HookedMethod, ...]
GatedForm: TypeAlias = Literal["outputs", "gate", "halves", "alternating"]


@dataclass(frozen=True, slots=True)
class GatedUnit:
    """One SwiGLU: the modules whose outputs are its inputs, the layer that it counts in, and its clamp.

    `parts` with the form "outputs" are one module that returns gate and linear part side by side [.., 2 H],
    or two that return one each. Of experts that are kept as one tensor they are what is called for each:
    the activation, which is given the "gate" and nothing of the linear part, or a method that is given both,
    in "halves" or "alternating". Experts of one layer share its number.
    """

    name: str
    layer: int
    parts: GatedParts
    clamp: float | None
    form: GatedForm = "outputs"


class SwigluObserver:
    """Writes the share of inputs at the clamp, and the room that is left, the worst of a layer's units."""

    def __init__(self, units: Sequence[GatedUnit], *, faults: Faults) -> None:
        self._faults = faults
        self._parts = [(unit, number) for unit in units for number in range(len(unit.parts))]
        self._num_layers = 1 + max(unit.layer for unit in units)
        self._written = [False] * self._num_layers

    @property
    def columns(self) -> Columns:
        """Two series of all layers."""
        return {"slow": per_layer(("swiglu_saturation", "swiglu_headroom"), self._num_layers)}

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks every unit."""
        self._saturation_L, self._headroom_L = places["slow"].view(2, -1)
        modules = [unit.parts[number] for unit, number in self._parts]
        self._hooks = ForwardHooks(
            modules,
            self._pick,
            self._measure,
            clock=clock,
            cadence="slow",
            faults=self._faults,
            told="observing a SwiGLU",
        )

    def end_step(self) -> None:
        """The next step begins with nothing written."""
        self._written = [False] * self._num_layers

    def close(self) -> None:
        """Removes the hooks."""
        self._hooks.close()

    def _pick(self, place: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensors | None:
        unit, _ = self._parts[place]
        return (whole_output if unit.form == "outputs" else first_argument)(place, module, args, output)

    def _measure(self, place: int, tensors: Tensors) -> None:
        (output,) = tensors
        if output is None or not output.numel():
            return
        unit, number = self._parts[place]
        rows_RH = output.reshape(-1, output.shape[-1])
        rows_RH = rows_RH[:: -(-len(rows_RH) // _NUM_ROWS)].float()
        if unit.form == "gate":
            inputs = rows_RH
        elif len(unit.parts) == 2:
            inputs = rows_RH if number == 0 else rows_RH.abs()
        else:
            is_alternating = unit.form == "alternating"
            parts = (rows_RH[:, ::2], rows_RH[:, 1::2]) if is_alternating else rows_RH.chunk(2, dim=-1)
            inputs = torch.cat((parts[0], parts[1].abs()))
        clamp = unit.clamp or CLAMP
        largest = inputs.reshape(-1).topk(max(1, round(_SHARE_ABOVE * inputs.numel()))).values[-1]
        # A gate that is nowhere above 0 is as far from the clamp as can be told
        headroom = -(largest.clamp_min(torch.finfo(torch.float32).tiny) / clamp).log()
        saturation = (inputs >= clamp).float().mean() if unit.clamp else headroom * 0.0
        self._write(unit.layer, saturation, headroom)

    def _write(self, layer: int, saturation: Tensor, headroom: Tensor) -> None:
        """Keeps the worse of what the layer's units have shown in this step; NaN is the worst."""
        if self._written[layer]:
            saturation = torch.maximum(self._saturation_L[layer], saturation)
            headroom = torch.minimum(self._headroom_L[layer], headroom)
        self._saturation_L[layer].copy_(saturation)
        self._headroom_L[layer].copy_(headroom)
        self._written[layer] = True

"""How much the normalisations have to undo, and by how much they scale.

Legend: B batch, S tokens, C width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.hooks import ForwardHooks, Tensors, first_argument
from foreshock.probe.observers.measures import TokenSample, local, size
from foreshock.probe.observers.observer import Columns, Places
from foreshock.wire import per_layer


class NormObserver:
    """Writes the RMS of every normalisation's input, over a sample of tokens, and that of its weights."""

    def __init__(self, norms: Sequence[nn.Module], *, num_sampled_tokens: int, faults: Faults) -> None:
        self._norms, self._faults = norms, faults
        self._weights = [weight.detach() for norm in norms if isinstance(weight := norm.weight, Tensor)]
        self._tokens = TokenSample(num_sampled_tokens)

    @property
    def columns(self) -> Columns:
        """Two series of all normalisations."""
        return {"slow": per_layer(("norm_input_rms", "norm_weight_rms"), len(self._norms))}

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks every normalisation."""
        self._input_N, self._weight_N = places["slow"].view(2, -1)
        self._scale_N = self._weight_N.new_tensor(
            [max(1, local(weight).numel()) ** -0.5 for weight in self._weights]
        )
        self._clock = clock
        self._hooks = ForwardHooks(
            self._norms,
            first_argument,
            self._measure,
            clock=clock,
            cadence="slow",
            faults=self._faults,
            told="observing a normalisation",
        )

    def end_step(self) -> None:
        """Writes the weights' sizes, all in one pass."""
        if self._clock.is_due["slow"]:
            with self._clock.charging("slow"):
                # Of a weight that is spread over processes, the part that is here
                norms = torch._foreach_norm([local(weight) for weight in self._weights])
                torch.mul(torch.stack([norm.float() for norm in norms]), self._scale_N, out=self._weight_N)

    def close(self) -> None:
        """Removes the hooks."""
        self._hooks.close()

    def _measure(self, place: int, tensors: Tensors) -> None:
        (x_BSC,) = tensors
        if x_BSC is not None:
            sample = self._tokens.of(x_BSC) if x_BSC.dim() >= 3 else x_BSC
            self._input_N[place].copy_(size(sample)[0])

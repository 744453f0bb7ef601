"""The residual stream of a decoder without mixing matrices: what enters each of its blocks.

Legend: B batch, S tokens, C width.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.hooks import ForwardHooks, Tensors
from foreshock.probe.observers.observer import Columns, Places
from foreshock.probe.observers.visits import Sizes
from foreshock.wire import per_layer


class StreamObserver:
    """Writes the size of every block's input over a sample of tokens, and apart from it of first tokens."""

    def __init__(self, blocks: Sequence[nn.Module], *, num_sampled_tokens: int, faults: Faults) -> None:
        self._blocks, self._faults = blocks, faults
        self._sizes = Sizes(len(blocks), num_sampled_tokens)

    @property
    def columns(self) -> Columns:
        """The same series as where streams are mixed."""
        num_layers = len(self._blocks)
        return {
            "step": per_layer(("stream_rms", "stream_max"), num_layers),
            "slow": per_layer(("stream_first_max",), num_layers),
        }

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks every block."""
        self._size_SL, self._first_max_L = places["step"].view(2, -1), places["slow"]
        self._clock = clock
        self._hooks = ForwardHooks(
            self._blocks,
            _stream_of,
            self._measure,
            clock=clock,
            cadence="step",
            faults=self._faults,
            told="observing the residual stream",
        )

    def end_step(self) -> None:
        """Writes what the step's passes have shown."""
        with self._clock.charging("step"):
            self._sizes.write(*self._size_SL)

    def close(self) -> None:
        """Removes the hooks."""
        self._hooks.close()

    def _measure(self, layer: int, tensors: Tensors) -> None:
        (x_BSC,) = tensors
        if x_BSC is None:
            return
        self._sizes.take(layer, x_BSC)
        if self._clock.is_due["slow"]:
            self._first_max_L[layer].copy_(x_BSC[:, 0].abs().amax())


def _stream_of(place: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensors | None:
    # Not bool(args), at which torch 2.11 breaks the graph
    is_stream = len(args) > 0 and isinstance(args[0], Tensor) and args[0].dim() == 3
    return (args[0],) if is_stream else None

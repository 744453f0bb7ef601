"""The embedding's output, where the layer-0 canary's cause is looked for first."""

from typing import Final

from torch import nn

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.hooks import ForwardHooks, Tensors, whole_output
from foreshock.probe.observers.measures import size
from foreshock.probe.observers.observer import Columns, Places


class EmbeddingObserver:
    """Writes RMS and largest magnitude of the embedding's output [.., C]."""

    columns: Final[Columns] = {"step": ("canary_embedding_rms", "canary_embedding_max")}

    def __init__(self, embedding: nn.Embedding, faults: Faults) -> None:
        self._embedding, self._faults = embedding, faults

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks the embedding."""
        self._rms, self._max = places["step"].unbind()
        self._hooks = ForwardHooks(
            [self._embedding],
            whole_output,
            self._measure,
            clock=clock,
            cadence="step",
            faults=self._faults,
            told="observing the embedding",
        )

    def end_step(self) -> None:
        """Everything is written by then."""

    def close(self) -> None:
        """Removes the hook."""
        self._hooks.close()

    def _measure(self, place: int, tensors: Tensors) -> None:
        (embedded,) = tensors
        if embedded is not None:
            rms, largest = size(embedded)
            self._rms.copy_(rms)
            self._max.copy_(largest)

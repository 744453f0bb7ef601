"""The embedding's output, where the layer-0 canary's cause is looked for first."""

from typing import Any, Final

import torch
from torch import Tensor, nn

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
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
        self._handle = self._embedding.register_forward_hook(self._observe)

    def end_step(self) -> None:
        """Everything is written by then."""

    def close(self) -> None:
        """Removes the hook."""
        self._handle.remove()

    def _observe(self, module: nn.Module, args: Any, output: Tensor) -> None:
        if not module.training:
            return
        try:
            with torch.no_grad():
                rms, largest = size(output.detach())
                self._rms.copy_(rms)
                self._max.copy_(largest)
        except Exception as error:
            self._faults.count("observing the embedding", error)

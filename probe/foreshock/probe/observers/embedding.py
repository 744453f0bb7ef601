"""The embedding's output, where the layer-0 canary's cause is looked for first."""

from typing import Any

import torch
from torch import Tensor, nn

from foreshock.probe.faults import Faults


class EmbeddingObserver:
    """Writes RMS and largest magnitude of the embedding's output [.., C] into two places of the row."""

    def __init__(self, embedding: nn.Embedding, out_rms: Tensor, out_max: Tensor, faults: Faults) -> None:
        self._out_rms, self._out_max, self._faults = out_rms, out_max, faults
        self._handle = embedding.register_forward_hook(self._observe)

    def close(self) -> None:
        """Removes the hook."""
        self._handle.remove()

    def _observe(self, module: nn.Module, args: Any, output: Tensor) -> None:
        if not module.training:
            return
        try:
            with torch.no_grad():
                flat = output.detach().float().reshape(-1)
                low, high = torch.aminmax(flat)
                self._out_rms.copy_((flat.dot(flat) / flat.numel()).sqrt())
                self._out_max.copy_(torch.maximum(-low, high))
        except Exception as error:
            self._faults.count("observing the embedding", error)

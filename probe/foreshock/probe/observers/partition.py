"""The logarithm of the output's partition function: drift that the loss does not see.

Legend: B batch, S tokens, K sampled tokens, V vocabulary.
"""

from typing import Final

import torch
from torch import nn

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.hooks import ForwardHooks, Tensors, whole_output
from foreshock.probe.observers.measures import TokenSample
from foreshock.probe.observers.observer import Columns, Places

# A row of logits is as wide as the vocabulary
_NUM_TOKENS: Final = 64


class PartitionObserver:
    """Writes mean and maximum of log Z over a sample of tokens; `head` returns the logits [B, S, V]."""

    columns: Final[Columns] = {"slow": ("log_z_mean", "log_z_max")}

    def __init__(self, head: nn.Module, faults: Faults) -> None:
        self._head, self._faults = head, faults
        self._tokens = TokenSample(_NUM_TOKENS)

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks the head."""
        self._mean, self._max = places["slow"].unbind()
        self._hooks = ForwardHooks(
            [self._head],
            whole_output,
            self._measure,
            clock=clock,
            cadence="slow",
            faults=self._faults,
            told="observing the output",
        )

    def end_step(self) -> None:
        """Everything is written by then."""

    def close(self) -> None:
        """Removes the hook."""
        self._hooks.close()

    def _measure(self, place: int, tensors: Tensors) -> None:
        (logits,) = tensors
        if logits is not None:
            logits_KV = self._tokens.of(logits) if logits.dim() >= 3 else logits
            log_z_K = torch.logsumexp(logits_KV.float(), -1)
            self._mean.copy_(log_z_K.mean())
            self._max.copy_(log_z_K.amax())

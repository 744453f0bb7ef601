"""Measures that several observers take: sizes, and the tokens they are taken at."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor

_MAX_CACHED_SHAPES: Final = 8


def size(values: Tensor) -> tuple[Tensor, Tensor]:
    """RMS and largest magnitude, scalars; `dot` and `aminmax` are several times faster than norms."""
    flat = values.float().reshape(-1)
    low, high = torch.aminmax(flat)
    return (flat.dot(flat) / flat.numel()).sqrt(), torch.maximum(-low, high)


def local(values: Tensor) -> Tensor:
    """This process's part of a tensor that is spread over several (a DTensor); any other as it is.

    Whatever works on the whole of it communicates, and waits for ever where another process has no probe.
    """
    to_local: Callable[[], Tensor] | None = getattr(values, "to_local", None)
    return values if to_local is None else to_local()


def is_spread(values: Tensor) -> bool:
    """Whether this process holds only a part: shards, or a sum or norm that is still to be joined."""
    placements: Iterable[Any] = getattr(values, "placements", ())
    return any(not placement.is_replicate() for placement in placements)


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Values of the host on the device, without waiting for it: from pinned memory, which torch keeps."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


class TokenSample:
    """Evenly spaced tokens of a batch, first tokens left out: they carry massive activations of their own."""

    def __init__(self, num_tokens: int) -> None:
        self.num_tokens = num_tokens
        self._indices: dict[tuple[int, int], Tensor] = {}

    def of(self, values: Tensor) -> Tensor:
        """The sampled tokens [K, ..] of values [B, S, ..]."""
        return values.reshape(-1, *values.shape[2:]).index_select(0, self.index(values))

    def index(self, values: Tensor) -> Tensor:
        """Their places [K] among the B S tokens of values [B, S, ..], on its device."""
        batch, length = values.shape[:2]
        key = (batch, length)
        index = self._indices.get(key)
        if index is None or index.device != values.device:
            positions = torch.arange(batch * length).reshape(batch, length)
            positions = (positions[:, 1:] if length > 1 else positions).reshape(-1)
            count = min(self.num_tokens, len(positions))
            chosen = torch.linspace(0, len(positions) - 1, count).round().long()
            index = sent(positions[chosen], values.device)
            if len(self._indices) >= _MAX_CACHED_SHAPES:
                self._indices.clear()
            self._indices[key] = index
        return index

"""What the forward passes of one step have shown of every layer, kept raw and put together at the step's end.

A pass adds as few operators as can be: what a layer's numbers still need is done for all layers at once.
Several passes (gradient accumulation) become one: means of means, maxima of maxima. A recomputed forward is
a pass like any other, and changes neither.

Legend: L layers, V passes.
"""

from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

import torch
from torch import Tensor

from foreshock.probe.observers.measures import TokenSample

# Of more passes in one step the last takes the place of the one before
MAX_PASSES: Final = 32

Entry = TypeVar("Entry")


class Visits(Generic[Entry]):
    """Entries by layer and pass. `finish` hands over groups of layers that can be put together at once."""

    def __init__(self, num_layers: int) -> None:
        self._by_layer: list[list[Entry]] = [[] for _ in range(num_layers)]

    def add(self, layer: int, entry: Entry) -> None:
        """Keeps what one pass has shown of a layer."""
        entries = self._by_layer[layer]
        if len(entries) == MAX_PASSES:
            entries.pop()
        entries.append(entry)

    def finish(self, kind: Callable[[Entry], object]) -> Iterator[tuple[slice, list[list[Entry]]]]:
        """Layers that can be put together at once, with their entries by layer and pass; then forgets all.

        Usually all layers; else layer by layer, without those that no pass has met. Entries of another
        `kind` than a layer's last are left out.
        """
        by_layer = self._by_layer
        self._by_layer = [[] for _ in by_layer]
        kinds = {(len(entries), *{kind(entry) for entry in entries}) for entries in by_layer}
        if len(kinds) == 1 and len(kinds.pop()) == 2:
            yield slice(0, len(by_layer)), by_layer
            return
        for layer, entries in enumerate(by_layer):
            if entries:
                last = kind(entries[-1])
                yield slice(layer, layer + 1), [[entry for entry in entries if kind(entry) == last]]


class Sizes:
    """RMS and largest magnitude of each layer's stream, over half of the sampled tokens.

    Taken at every step, and bound by memory: a pass gathers the sample, goes over it twice, and leaves the
    rest to the step's end.
    """

    def __init__(self, num_layers: int, num_sampled_tokens: int) -> None:
        self._visits: Visits[tuple[Tensor, int]] = Visits(num_layers)
        self._tokens = TokenSample(max(1, num_sampled_tokens // 2))

    def take(self, layer: int, streams: Tensor) -> None:
        """Measures a layer's stream, [B, S, ..]."""
        flat = self._tokens.of(streams).float().view(-1)
        raw_3 = flat.new_empty(3)
        square, low, high = raw_3.unbind()
        # Several times faster than norms
        torch.dot(flat, flat, out=square)
        torch.aminmax(flat, out=(low, high))
        self._visits.add(layer, (raw_3, flat.numel()))

    def write(self, rms_L: Tensor, max_L: Tensor) -> None:
        """Writes what the step has shown; a layer without a pass is left."""
        for layers, visits in self._visits.finish(_num_values):
            num_values = visits[0][0][1]
            raw_LV3 = torch.stack([raw_3 for entries in visits for raw_3, _ in entries]).view(
                len(visits), -1, 3
            )
            square_LV, low_LV, high_LV = raw_LV3.unbind(-1)
            rms_L[layers] = (square_LV.mean(1) / num_values).sqrt()
            max_L[layers] = torch.maximum(-low_LV, high_LV).amax(1)


def _num_values(entry: tuple[Tensor, int]) -> int:
    return entry[1]


def together(values_LVS: Tensor, means: tuple[slice, ...]) -> Tensor:
    """The passes of a step as one, [L, S]: `means` are averaged, of other columns the largest counts."""
    if values_LVS.shape[1] == 1:
        return values_LVS[:, 0]
    joined_LS = values_LVS.amax(1)
    for columns in means:
        joined_LS[:, columns] = values_LVS[:, :, columns].mean(1)
    return joined_LS

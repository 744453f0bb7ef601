"""What a trainer's own numbers are called beside the probe's, and a loss that comes in parts."""

import re
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from foreshock.wire import WireError, parse_column

PREFIX: Final = "trainer/"
_ODD: Final = re.compile(r"[^A-Za-z0-9_./:\-]")


class PartialLoss:
    """The loss of one step from those of its parts, without waiting for a device.

    `takes_sum` says that the parts are shares of the step's loss, which are added up; else they are averaged.
    """

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._num_parts = 0
        self._takes_sum = False

    def add(self, loss: Tensor, *, takes_sum: bool = False) -> None:
        """Adds a part's loss."""
        with torch.no_grad():
            part = loss.detach().float().mean()
            self._sum = part.clone() if self._sum is None else self._sum + part
        self._num_parts, self._takes_sum = self._num_parts + 1, takes_sum

    def take(self) -> Tensor | None:
        """The step's loss; the next step begins with none. None where no part was seen."""
        total, count = self._sum, self._num_parts
        self._sum, self._num_parts = None, 0
        if total is None or self._takes_sum:
            return total
        return total / count


def own_names(metrics: Mapping[str, Any]) -> dict[str, float]:
    """A trainer's numbers under names that the probe takes: `trainer/` before those of the catalogue."""
    named: dict[str, float] = {}
    for name, value in metrics.items():
        if not isinstance(value, int | float) and not (isinstance(value, Tensor) and value.numel() == 1):
            continue
        clean = _ODD.sub("_", name)[:100] or "_"
        try:
            is_taken = parse_column(clean).signal is not None
        except WireError:
            is_taken = True
        named[PREFIX + clean if is_taken else clean] = float(value)
    return named

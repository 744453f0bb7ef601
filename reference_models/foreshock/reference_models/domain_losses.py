"""The loss of each domain in a batch, by name: the data may be the first cause.

Shape suffixes: B windows, D domains.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from foreshock.reference_models.parallel import World


class DomainLosses:
    """Takes the windows' losses apart by domain. With a single domain there is nothing to tell."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)

    def of(self, loss_B: Tensor, domain_B: Tensor, world: World) -> dict[str, float]:
        """The mean loss of each domain that has windows in the batch, over all ranks, in nats."""
        if len(self._names) < 2:
            return {}
        sums_2D = torch.zeros(2, len(self._names), dtype=torch.float64)
        sums_2D[0].index_add_(0, domain_B, loss_B.detach().double().cpu())
        sums_2D[1].index_add_(0, domain_B, torch.ones(len(domain_B), dtype=torch.float64))
        totals, counts = world.total(sums_2D).tolist()
        rows = zip(self._names, totals, counts, strict=True)
        return {name: total / count for name, total, count in rows if count}

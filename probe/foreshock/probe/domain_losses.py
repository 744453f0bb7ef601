"""The domains of the data: which number each has, and the loss of each in a batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from foreshock.probe.observers.domains import MAX_DOMAINS
from foreshock.probe.observers.measures import sent
from foreshock.wire import domain_loss_series


class DomainLosses:
    """Numbers domains in the order in which they are met, and takes windows' losses apart by them."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def numbers(self, windows: Sequence[str]) -> Tensor:
        """The domain's number of each window, [B].

        Raises ValueError for more domains than are kept apart.
        """
        for name in windows:
            if name not in self._numbers:
                if len(self._numbers) >= MAX_DOMAINS:
                    raise ValueError(
                        f"{name!r} would be domain number {MAX_DOMAINS + 1}; at most {MAX_DOMAINS} are kept "
                        "apart: name a window by what kind of text it is of, not by itself"
                    )
                self._numbers[name] = len(self._numbers)
        return torch.tensor([self._numbers[name] for name in windows])

    def of(self, domain_B: Tensor, windows: Sequence[str], loss_B: Tensor) -> dict[str, Tensor]:
        """The mean loss of each domain that has windows here, on the device, by series.

        Raises ValueError where there is not one loss a window.
        """
        loss_B = loss_B.detach().float()
        if loss_B.shape != domain_B.shape:
            raise ValueError(
                f"losses have shape {list(loss_B.shape)}; give one for each of the {len(windows)} windows"
            )
        sum_D = loss_B.new_zeros(len(self)).index_add_(0, sent(domain_B, loss_B.device), loss_B)
        return {
            domain_loss_series(name): sum_D[self._numbers[name]] / windows.count(name)
            for name in set(windows)
        }

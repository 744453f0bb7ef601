"""How differently the domains of the data are routed; the script says which windows are of which.

Legend: B windows, S tokens, D domains, E experts, T chosen experts (top-k).
"""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.hooks import ForwardHooks, Tensors
from foreshock.probe.observers.measures import sent
from foreshock.probe.observers.observer import Columns, Places
from foreshock.probe.observers.routing import RoutingPoint
from foreshock.wire import per_layer

MAX_DOMAINS: Final = 64


class DomainObserver:
    """Writes the distance between the domains' loads of each router, over all tokens of the batch."""

    def __init__(self, points: Sequence[RoutingPoint], *, faults: Faults) -> None:
        self._points, self._faults = points, faults
        self._domain_B: Tensor | None = None
        self._num_domains = 0

    @property
    def columns(self) -> Columns:
        """One series of all routers."""
        return {"slow": per_layer(("router_domain_distance",), len(self._points))}

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks every router."""
        self._distance_L = places["slow"]
        self._hooks = ForwardHooks(
            [point.module for point in self._points],
            self._pick,
            self._measure,
            clock=clock,
            cadence="slow",
            faults=self._faults,
            told="observing domains",
        )

    def take(self, domain_B: Tensor, num_domains: int) -> None:
        """Takes the domain of each window of the batch to come."""
        self._domain_B, self._num_domains = domain_B, num_domains

    def end_step(self) -> None:
        """The next batch has other windows."""
        self._domain_B = None

    def close(self) -> None:
        """Removes the hooks."""
        self._hooks.close()

    def _pick(self, place: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensors:
        return args[0], self._points[place].indices(args, output)

    def _measure(self, place: int, tensors: Tensors) -> None:
        (x, indices), domain_B = tensors, self._domain_B
        if x is None or indices is None or domain_B is None:
            return
        num_choices, num_windows = indices.numel(), x.shape[0] if x.dim() >= 3 else None
        if num_choices % len(domain_B) or num_windows not in (None, len(domain_B)):
            raise ValueError(
                f"the domains of {len(domain_B)} windows were given, but a router got x of {list(x.shape)}: "
                "call probe.domains before each forward pass, with the windows of that pass"
            )
        if domain_B.device != indices.device:
            self._domain_B = domain_B = sent(domain_B, indices.device)
        num_experts = len(self._points[place].state()[0])
        chosen_BN = indices.reshape(len(domain_B), -1)
        row_BN = chosen_BN + num_experts * domain_B.unsqueeze(-1)
        load = torch.zeros(self._num_domains * num_experts, device=indices.device)
        load.scatter_add_(0, row_BN.reshape(-1), load.new_ones(()).expand(num_choices))
        value, is_known = distance(load.view(self._num_domains, num_experts))
        self._distance_L[place].copy_(torch.where(is_known, value, self._distance_L[place]))


def distance(load_DE: Tensor) -> tuple[Tensor, Tensor]:
    """Jensen-Shannon divergence of the domains' loads over the logarithm of their number, in [0, 1].

    And whether there are two of them at least: a domain without a token takes no part.
    """
    total_D = load_DE.sum(-1)
    is_there_D = total_D > 0
    number = is_there_D.sum()
    share_DE = load_DE / total_D.clamp_min(1.0).unsqueeze(-1)
    mean_E = share_DE.sum(0) / number
    entropies = torch.special.entr(share_DE).sum(-1).sum() / number
    divergence = torch.special.entr(mean_E).sum() - entropies
    return divergence / number.clamp_min(2).log(), number > 1

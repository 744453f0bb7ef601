"""Where a mixture of experts is torn: near tokens that are sent to different experts come out apart.

    J = |y_a - y_b| / |x_a - x_b|
    tear = median log J where routes differ - median log J where they agree

over the nearest hundredth of all pairs of sampled tokens, x what the router is given, y what its mixture of
experts returns. Near 0 the choice between experts is smooth in effect; it grows where they have parted.

Legend: K sampled tokens, E experts, T chosen experts (top-k), C width, P pairs.
"""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.choices import sampled
from foreshock.probe.observers.hooks import ForwardHooks, Tensors
from foreshock.probe.observers.measures import TokenSample
from foreshock.probe.observers.observer import Columns, Places
from foreshock.probe.observers.routing import RoutingPoint
from foreshock.wire import per_layer

_NEAREST_SHARE: Final = 0.01
# Tokens that are closer than this share of their size are the same token, seen twice
_EQUAL: Final = 1e-3
# Of fewer pairs a median says little
LEAST_PAIRS: Final = 8


class TearObserver:
    """Writes the tear of every layer whose mixture of experts is known, over sampled tokens."""

    def __init__(self, points: Sequence[RoutingPoint], *, num_sampled_tokens: int, faults: Faults) -> None:
        self._points, self._faults = points, faults
        self._tokens = TokenSample(num_sampled_tokens)
        # What the router has seen and decided, until its mixture of experts has answered
        self._routed: list[tuple[Tensor, Tensor] | None] = [None] * len(points)
        self._pairs: dict[tuple[int, torch.device], Tensor] = {}

    @property
    def columns(self) -> Columns:
        """One series of all routers."""
        return {"rare": per_layer(("router_tear",), len(self._points))}

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks every router and what it routes for."""
        self._tear_L = places["rare"]
        modules = [point.module for point in self._points]
        blocks = [point.block for point in self._points]
        self._hooks = [
            ForwardHooks(
                hooked,
                pick,
                measure,
                clock=clock,
                cadence="rare",
                faults=self._faults,
                told="observing the tear",
                keeps=keeps,
            )
            for hooked, pick, measure, keeps in (
                (modules, self._pick_routed, self._keep, (0, 1)),
                (blocks, _pick_output, self._measure, ()),
            )
        ]

    def end_step(self) -> None:
        """Forgets what no mixture of experts has answered to."""
        self._routed = [None] * len(self._points)

    def close(self) -> None:
        """Removes the hooks."""
        for hooks in self._hooks:
            hooks.close()
        self.end_step()

    def _pick_routed(self, place: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensors:
        return args[0], self._points[place].indices(args, output)

    def _keep(self, place: int, tensors: Tensors) -> None:
        x, indices = tensors
        if x is not None and indices is not None and self._points[place].block is not None:
            self._routed[place] = x.detach(), indices.detach()

    def _measure(self, place: int, tensors: Tensors) -> None:
        (y,), routed, self._routed[place] = tensors, self._routed[place], None
        if y is None or routed is None:
            return
        x, indices = routed
        if x.numel() // x.shape[-1] != y.numel() // y.shape[-1]:
            return  # what it returns is not of these tokens
        # The one that still has windows says which tokens are first
        shaped = y if y.dim() >= 3 else x
        x_KC, y_KC = (sampled(self._tokens, shaped, values).float() for values in (x, y))
        chosen_KT = sampled(self._tokens, shaped, indices).sort(-1).values
        value, is_known = tear(x_KC, y_KC, chosen_KT, self._pairs_of(len(x_KC), x_KC.device))
        self._tear_L[place].copy_(torch.where(is_known, value, self._tear_L[place]))

    def _pairs_of(self, num_tokens: int, device: torch.device) -> Tensor:
        key = (num_tokens, device)
        if key not in self._pairs:
            self._pairs = {key: torch.triu_indices(num_tokens, num_tokens, 1, device=device)}
        return self._pairs[key]


def tear(x_KC: Tensor, y_KC: Tensor, chosen_KT: Tensor, pairs_2P: Tensor) -> tuple[Tensor, Tensor]:
    """The tear, and whether enough pairs of either kind tell it; pairs of one token are left out.

    `chosen_KT` are sorted; `pairs_2P` are all pairs of tokens.
    """
    one_P, other_P = pairs_2P
    distance_P = torch.cdist(x_KC, x_KC)[one_P, other_P]
    # Products of matrices tell distances no better than this; those that count are computed anew
    is_apart_P = distance_P > _EQUAL * x_KC.norm(dim=-1).nanmean()
    distance_P, near_P = distance_P.where(is_apart_P, torch.inf).topk(
        round(_NEAREST_SHARE * len(distance_P)), largest=False
    )
    is_pair_P = distance_P.isfinite()
    one_P, other_P = one_P[near_P], other_P[near_P]
    distance_P = (x_KC[one_P] - x_KC[other_P]).norm(dim=-1)
    jump_P = ((y_KC[one_P] - y_KC[other_P]).norm(dim=-1) / distance_P).log()
    parts_P = (chosen_KT[one_P] != chosen_KT[other_P]).any(-1)
    apart, together = (jump_P.where(is_pair_P & is_of, torch.nan) for is_of in (parts_P, ~parts_P))
    counts = torch.stack(((is_pair_P & parts_P).sum(), (is_pair_P & ~parts_P).sum()))
    return apart.nanmedian() - together.nanmedian(), counts.amin() >= LEAST_PAIRS


def _pick_output(place: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensors | None:
    """What the mixture returned, or the first of it."""
    first = output[0] if isinstance(output, tuple) and output else output
    return (first,) if isinstance(first, Tensor) else None

"""How a mixture of experts routes: evenly, surely, steadily.

Legend: B batch, S tokens, K sampled tokens, E experts, T chosen experts (top-k), C width.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.choices import choice, flips, margin, sampled, weighed
from foreshock.probe.observers.hooks import ForwardHooks, Tensors
from foreshock.probe.observers.measures import TokenSample
from foreshock.probe.observers.observer import Columns, Places
from foreshock.wire import per_layer

SERIES: Final = (
    "router_max_violation",
    "router_entropy",
    "router_dead_experts",
    "router_margin_p01",
    "router_similarity",
    "router_staleness",
    "router_staleness_weighted",
    "router_staleness_applied",
)
# What the weights of an earlier reading may take on the device, over all layers
MAX_KEPT_BYTES: Final = 8 * 2**20


class RoutingPoint(Protocol):
    """How a kind of router is read; one object a module."""

    @property
    def name(self) -> str:
        """Where the model holds it."""

    @property
    def module(self) -> nn.Module:
        """What is hooked."""

    @property
    def block(self) -> nn.Module | None:
        """The mixture of experts that it routes for, x [.., C] to [.., C]; None where it is not known."""

    @property
    def how(self) -> str:
        """In words, what it is known by."""

    def indices(self, args: tuple[Any, ...], output: Any) -> Tensor:
        """The experts [.., T] that the forward pass chose for all its tokens."""

    def state(self) -> tuple[Tensor, ...]:
        """The weights [E, C] that it decides by, first, and what else it takes; copies are kept of them."""

    def scores(self, tokens_KC: Tensor, state: tuple[Tensor, ...]) -> Tensor | None:
        """The scores [K, E] whose largest are chosen, by such a state; None where none are compared."""

    def outputs(self, tokens_KC: Tensor, indices_KT: Tensor) -> Tensor | None:
        """What the routed experts make of tokens that are sent to these, [K, C], leaving no trace.

        None where the experts cannot be asked.
        """


class RoutingObserver:
    """Writes loads over all tokens, and over a sample of them margins and choices that have changed."""

    def __init__(self, points: Sequence[RoutingPoint], *, num_sampled_tokens: int, faults: Faults) -> None:
        self._points, self._faults = points, faults
        self._tokens = TokenSample(num_sampled_tokens)
        self._kept: list[tuple[Tensor, ...] | None] = [None] * len(points)
        self._was_compared = [False] * len(points)
        sizes = [sum(part.numel() * part.element_size() for part in point.state()) for point in points]
        # Layers beyond the bound have no staleness
        self._keeps = [sum(sizes[: place + 1]) <= MAX_KEPT_BYTES for place in range(len(points))]

    @property
    def columns(self) -> Columns:
        """All series of all routers."""
        return {"slow": per_layer(SERIES, len(self._points))}

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks every router."""
        self._block_SL = places["slow"].view(len(SERIES), len(self._points))
        modules = [point.module for point in self._points]
        self._hooks = ForwardHooks(
            modules,
            self._pick,
            self._measure,
            clock=clock,
            cadence="slow",
            faults=self._faults,
            told="observing a router",
        )

    def end_step(self) -> None:
        """The next step's weights are compared anew."""
        self._was_compared = [False] * len(self._points)

    def close(self) -> None:
        """Removes the hooks and forgets the weights."""
        self._hooks.close()
        self._kept = [None] * len(self._points)

    def _keep(self, place: int, state: tuple[Tensor, ...]) -> None:
        kept = self._kept[place]
        if kept is None:
            self._kept[place] = tuple(part.clone() for part in state)
        else:
            for old, new in zip(kept, state, strict=True):
                old.copy_(new)

    def _pick(self, place: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensors:
        return args[0], self._points[place].indices(args, output)

    def _measure(self, place: int, tensors: Tensors) -> None:
        x, indices = tensors
        if x is None or indices is None:
            return
        point, column = self._points[place], self._block_SL[:, place]
        num_experts = len(point.state()[0])
        column[:3].copy_(_loads(indices, num_experts))
        state = tuple(part.detach() for part in point.state())
        column[4].copy_(_similarity(state[0].float()))
        tokens_KC = sampled(self._tokens, x, x)
        scores_KE = point.scores(tokens_KC, state)
        if scores_KE is None:
            return
        top_k = indices.shape[-1]
        margin_K, chosen_KT = margin(scores_KE, top_k), choice(scores_KE, top_k)
        column[3].copy_(margin_K.kthvalue(max(1, len(margin_K) // 100)).values)
        column[7].copy_(flips(sampled(self._tokens, x, indices), chosen_KT, scores_KE).mean())
        if self._was_compared[place]:
            return  # a recomputed forward, whose weights are those that were kept a moment ago
        kept = self._kept[place]
        if kept is not None:
            old_KE = point.scores(tokens_KC, kept)
            assert old_KE is not None, "a router that has scores now has them by older weights"
            stale_K = flips(chosen_KT, choice(old_KE, top_k), scores_KE, old_KE)
            column[5:7].copy_(weighed(stale_K, margin_K))
        # Here, where they are whole: between the steps FSDP keeps them in parts
        if self._keeps[place]:
            self._keep(place, state)
        self._was_compared[place] = True


def _loads(indices: Tensor, num_experts: int) -> Tensor:
    """Maximal violation, entropy over log E, share of experts without a token, [3]."""
    chosen = indices.reshape(-1)
    # Not bincount, which would wait for a GPU to know how many experts there are
    load_E = torch.zeros(num_experts, device=chosen.device)
    load_E.scatter_add_(0, chosen, load_E.new_ones(()).expand(chosen.shape))
    share_E = load_E / load_E.sum()
    violation = share_E.amax() * num_experts - 1
    entropy = torch.special.entr(share_E).sum() / math.log(max(2, num_experts))
    return torch.stack((violation, entropy, (load_E == 0).float().mean()))


def _similarity(weight_EC: Tensor) -> Tensor:
    """Mean cosine over all pairs of different experts: the sum of unit vectors knows it."""
    num_experts = len(weight_EC)
    unit_EC = torch.nn.functional.normalize(weight_EC, dim=-1)
    total = unit_EC.sum(0).square().sum()
    return (total - unit_EC.square().sum()) / (num_experts * (num_experts - 1))

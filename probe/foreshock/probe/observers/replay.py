"""How far routing has moved on a batch that stays the same, and what that does to a layer's output.

The script runs its model on that batch now and then (`probe.replay`); each router's choices are held against
those of the last time. Unlike `router_staleness`, which asks old weights about tokens of now, this sees the
drift of everything before the router as well.

Legend: K sampled tokens, E experts, T chosen experts (top-k), C width.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.choices import flips, margin, sampled, weighed
from foreshock.probe.observers.hooks import ForwardHooks, Tensors
from foreshock.probe.observers.measures import TokenSample
from foreshock.probe.observers.observer import Columns, Places
from foreshock.probe.observers.routing import RoutingPoint
from foreshock.wire import per_layer

SERIES: Final = ("router_staleness_fixed", "router_staleness_fixed_weighted", "router_counterfactual")


class ReplayObserver:
    """Writes how choices differ from those of the last replay, and how much the experts' output would."""

    def __init__(self, points: Sequence[RoutingPoint], *, num_sampled_tokens: int, faults: Faults) -> None:
        self._points, self._faults = points, faults
        self._tokens = TokenSample(num_sampled_tokens)
        self._last: list[Tensor | None] = [None] * len(points)
        self._is_listening = False

    @property
    def columns(self) -> Columns:
        """All series of all routers."""
        return {"rare": per_layer(SERIES, len(self._points))}

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks every router."""
        self._block_SL, self._clock = places["rare"].view(len(SERIES), -1), clock
        self._hooks = ForwardHooks(
            [point.module for point in self._points],
            self._pick,
            self._measure,
            clock=clock,
            cadence="rare",
            faults=self._faults,
            told="observing a replay",
            of_any_pass=True,
        )

    def end_step(self) -> None:
        """Everything is written by then."""

    def close(self) -> None:
        """Removes the hooks and forgets the choices."""
        self._hooks.close()
        self._last = [None] * len(self._points)

    def replay(self, forward: Callable[[], object]) -> None:
        """Runs the forward pass, if it is due, and listens to the routers meanwhile."""
        if not self._clock.is_due["rare"]:
            return
        self._is_listening = True
        try:
            with torch.no_grad(), self._clock.charging("rare"):
                forward()
        finally:
            self._is_listening = False

    def _pick(self, place: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensors:
        return args[0], self._points[place].indices(args, output)

    def _measure(self, place: int, tensors: Tensors) -> None:
        x, indices = tensors
        if not self._is_listening or x is None or indices is None:
            return
        point = self._points[place]
        tokens_KC, now_KT = sampled(self._tokens, x, x), sampled(self._tokens, x, indices)
        scores_KE = point.scores(tokens_KC, tuple(part.detach() for part in point.state()))
        if scores_KE is None:
            return
        then_KT, self._last[place] = self._last[place], now_KT.clone()
        if then_KT is None or then_KT.shape != now_KT.shape:
            return  # the first, or another batch than before
        stale_K = flips(now_KT, then_KT, scores_KE)
        column = self._block_SL[:, place]
        column[:2].copy_(weighed(stale_K, margin(scores_KE, now_KT.shape[-1])))
        now_KC, then_KC = point.outputs(tokens_KC, now_KT), point.outputs(tokens_KC, then_KT)
        if now_KC is not None and then_KC is not None:
            changed_K = (now_KC - then_KC).float().norm(dim=-1)
            column[2].copy_((changed_K / now_KC.float().norm(dim=-1).clamp_min(_TINY)).mean())


_TINY: Final = torch.finfo(torch.float32).tiny

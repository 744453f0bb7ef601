"""Routers: the reference models' own, and those of HF transformers' mixtures of experts.

HF's (Mixtral, Qwen, DeepSeek-V3 and V4, gpt-oss) are modules with `weight` [E, C] and `top_k` whose forward
returns (logits [T, E], weights [T, K], indices [T, K]); they differ in what is compared.

Legend: T tokens, E experts, K chosen experts, C width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foreshock.probe.observers.routing import RoutingPoint

Recombine: TypeAlias = Callable[..., Tensor]

_CORRECTION = "e_score_correction_bias"


@dataclass(frozen=True, slots=True)
class DeclaredRouter:
    """A router that says so: `is_expert_router`, `weight` [E, C], `bias` [E], `affinity(logits)`.

    Its forward returns (affinities [.., E], indices [.., K], ..); the largest affinity + bias are chosen.
    What holds it is its mixture of experts; one with `recombined(x, indices)` can be asked what would be.
    """

    name: str
    module: nn.Module
    block: nn.Module | None
    how = "says so (is_expert_router); the largest affinity + bias are chosen"

    def indices(self, args: tuple[Any, ...], output: Any) -> Tensor:
        """The second that it returns."""
        indices: Tensor = output[1]
        return indices

    def state(self) -> tuple[Tensor, ...]:
        """Weights and bias."""
        return self.module.get_parameter("weight"), self.module.get_buffer("bias")

    def scores(self, tokens_TC: Tensor, state: tuple[Tensor, ...]) -> Tensor | None:
        """Affinity + bias; a hash compares none."""
        if getattr(self.module, "routes_by_hash", False):
            return None
        weight_EC, bias_E = state
        scores_TE: Tensor = self.module.affinity(tokens_TC @ weight_EC.T) + bias_E  # type: ignore[operator]
        return scores_TE

    def outputs(self, tokens_TC: Tensor, indices_TK: Tensor) -> Tensor | None:
        """What the block's `recombined` says."""
        recombined: Recombine | None = getattr(self.block, "recombined", None)
        return None if recombined is None else recombined(tokens_TC, indices_TK)


@dataclass(frozen=True, slots=True)
class TransformersRouter:
    """A router of HF transformers."""

    name: str
    module: nn.Module
    block: nn.Module | None
    how = "a router of transformers: weight [E, C], indices third of what it returns"

    def indices(self, args: tuple[Any, ...], output: Any) -> Tensor:
        """The third that it returns."""
        indices: Tensor = output[2]
        return indices

    def state(self) -> tuple[Tensor, ...]:
        """Weights, and the bias of logits or of scores where there is one."""
        biases = (getattr(self.module, name, None) for name in ("bias", _CORRECTION))
        return (self.module.get_parameter("weight"), *(one for one in biases if isinstance(one, Tensor)))

    def scores(self, tokens_TC: Tensor, state: tuple[Tensor, ...]) -> Tensor | None:
        """What the forward pass compares; of a fixed table there is nothing to compare."""
        if hasattr(self.module, "tid2eid"):
            return None
        affinity_TE = self._affinity(tokens_TC, state)
        if not hasattr(self.module, _CORRECTION):
            return affinity_TE
        return self._within_groups(affinity_TE + state[-1].float())

    def _affinity(self, tokens_TC: Tensor, state: tuple[Tensor, ...]) -> Tensor:
        """What the experts' weights follow from, [T, E]."""
        weight_EC, *biases = (part.float() for part in state)
        logits_TE = F.linear(tokens_TC.float(), weight_EC)
        if not hasattr(self.module, _CORRECTION):
            return (logits_TE + biases[0] if biases else logits_TE).softmax(-1)
        # DeepSeek-V4 says by what it scores, V3 scores by a sigmoid
        score: Callable[[Tensor], Tensor] = getattr(self.module, "score_fn", torch.sigmoid)
        return score(logits_TE)

    def outputs(self, tokens_TC: Tensor, indices_TK: Tensor) -> Tensor | None:
        """The experts' module called with other indices, and the weights that would go with them."""
        experts: Recombine | None = getattr(self.block, "experts", None)
        if experts is None:
            return None
        affinity_TE = self._affinity(tokens_TC, tuple(part.detach() for part in self.state()))
        weights_TK = affinity_TE.gather(-1, indices_TK)
        if getattr(self.module, "norm_topk_prob", True):
            weights_TK = weights_TK / weights_TK.sum(-1, keepdim=True)
        scaling = getattr(self.module, "routed_scaling_factor", None) or 1.0
        return experts(tokens_TC, indices_TK, (weights_TK * scaling).to(tokens_TC.dtype))

    def _within_groups(self, scores_TE: Tensor) -> Tensor:
        """DeepSeek-V3's: only the best groups take part, by the sum of their two best scores."""
        groups = getattr(self.module, "num_group", None) or 1
        if groups == 1:
            return scores_TE
        grouped_TGe = scores_TE.view(len(scores_TE), groups, -1)
        best_TG = grouped_TGe.topk(2, dim=-1).values.sum(-1)
        kept_TG = torch.zeros_like(best_TG, dtype=torch.bool)
        num_kept: Any = self.module.topk_group
        kept_TG.scatter_(-1, best_TG.topk(num_kept, dim=-1).indices, True)
        return grouped_TGe.masked_fill(~kept_TG.unsqueeze(-1), -torch.inf).flatten(-2)


def find_routers(model: nn.Module) -> list[RoutingPoint]:
    """Every router that is known, in the model's order."""
    points: list[RoutingPoint] = []
    modules = dict(model.named_modules())
    for name, module in modules.items():
        block = modules[name.rpartition(".")[0]] if name else None
        if getattr(module, "is_expert_router", False):
            points.append(DeclaredRouter(name, module, block))
        elif _is_of_transformers(module):
            points.append(TransformersRouter(name, module, block))
    return points


def _is_of_transformers(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    is_table = (
        isinstance(weight, Tensor) and weight.dim() == 2 and isinstance(getattr(module, "top_k", None), int)
    )
    kind = type(module)
    return is_table and kind.__name__.endswith("Router") and kind.__module__.startswith("transformers.")

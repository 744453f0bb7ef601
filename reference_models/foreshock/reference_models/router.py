"""Which experts a token goes to, and with what weights (DeepSeek-V4, arXiv:2606.19348).

    affinity = sqrt(softplus(W x))      chosen = the K largest of affinity + bias
    weight   = scaling * affinity / (sum of the chosen affinities)

The bias takes part in the choice only (arXiv:2408.15664); the weights, and so the gradient, do not see it.

Shape suffixes: B batch, S tokens, C width, E experts, K chosen experts, V vocabulary.
"""

import math
import zlib
from typing import Final, NamedTuple

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

from foreshock.reference_models.errors import ConfigError
from foreshock.reference_models.model_config import VOCABULARY, ModelConfig

_EPSILON: Final = 1e-20
# Below, softplus(z) is e^z to all digits of float32, and the gradient of its root would soon be inf * 0.
_FLOOR: Final = -20.0


class Routing(NamedTuple):
    """What a router decided for each token.

    `affinities` [B, S, E]; `indices` [B, S, K] of the chosen experts; their `weights` [B, S, K]; `margin`
    [B, S], how far the least of the chosen lies above the best of the others in affinity + bias: 0 is a
    toss-up, inf where every expert is chosen, below 0 where indices were given that the router would not
    choose now, and NaN where a hash chooses.
    """

    affinities: Tensor
    indices: Tensor
    weights: Tensor
    margin: Tensor

    def detached(self) -> "Routing":
        """The same numbers without their history."""
        return Routing(*(part.detach() for part in self))


def affinity(logits: Tensor) -> Tensor:
    """sqrt(softplus(z)), with a gradient that stays finite where softplus(z) is 0 in float32."""
    upper = F.softplus(logits.clamp(min=_FLOOR)).sqrt()
    return torch.where(logits < _FLOOR, (0.5 * logits.clamp(max=_FLOOR)).exp(), upper)


class Router(nn.Module):
    """Chooses K of E experts by affinity, evenly by means of a loss-free bias.

    A probe finds it by `is_expert_router` and sees everything in what forward takes and returns; `weight`
    [E, C] and `bias` [E] are its state, from which `affinity` + bias tell what it would choose, and `last`
    is the routing of the last forward pass, detached. The bias is a buffer. It moves in `adjust` only, by
    the loads that `count` has gathered: neither an evaluation nor a forward pass that is computed again
    moves it or counts twice.
    """

    is_expert_router = True
    routes_by_hash = False
    affinity = staticmethod(affinity)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_experts, self.top_k = config.num_experts, config.top_k
        self.scaling, self.bias_rate = config.routed_scaling, config.bias_rate
        self.weight = nn.Parameter(torch.randn(config.num_experts, config.width) * config.width**-0.5)
        self.register_buffer("bias", torch.zeros(config.num_experts))
        self.last: Routing | None = None
        self._load_E: Tensor | None = None

    def forward(self, x_BSC: Tensor, indices_BSK: Tensor | None = None) -> Routing:
        """Returns the routing of x; `indices_BSK` are taken as the choice where they are given."""
        affinities_BSE = self.affinities(x_BSC)
        scores_BSE = affinities_BSE.detach() + self.get_buffer("bias")
        if indices_BSK is None:
            indices_BSK = scores_BSE.topk(self.top_k, dim=-1).indices
        weights_BSK = self.weights(affinities_BSE, indices_BSK)
        routing = Routing(affinities_BSE, indices_BSK, weights_BSK, self._margin(scores_BSE, indices_BSK))
        self.last = routing.detached()
        return routing

    def affinities(self, x: Tensor) -> Tensor:
        """Of every token [.., C] with every expert, [.., E]."""
        return affinity(F.linear(x, self.weight))

    def weights(self, affinities: Tensor, indices: Tensor) -> Tensor:
        """What each of the chosen counts for, [.., K]."""
        chosen = affinities.gather(-1, indices)
        return self.scaling * chosen / (chosen.sum(-1, keepdim=True) + _EPSILON)

    def count(self) -> None:
        """Adds the last routing to the loads."""
        if self.last is not None:
            load_E = torch.bincount(self.last.indices.flatten(), minlength=self.num_experts)
            self._load_E = load_E if self._load_E is None else self._load_E + load_E

    @torch.no_grad()
    def adjust(self) -> None:
        """Moves each bias by `bias_rate` towards even loads, by the error's sign, and forgets the loads.

        The loads of all processes are added first where training is distributed.
        """
        load_E, self._load_E = self._load_E, None
        if load_E is None or self.bias_rate == 0.0:
            return
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(load_E)
        error_E = load_E.float().mean() - load_E
        self.get_buffer("bias").add_(error_E.sign(), alpha=self.bias_rate)

    def _margin(self, scores_BSE: Tensor, indices_BSK: Tensor) -> Tensor:
        others_BSE = scores_BSE.scatter(-1, indices_BSK, -math.inf)
        return scores_BSE.gather(-1, indices_BSK).amin(-1) - others_BSE.amax(-1)


class HashRouter(Router):
    """Chooses by the token's id alone, through a fixed table; only the weights follow from the affinities.

    V4 routes its first three MoE layers so. `table` [V, K] is drawn by the layer's number, not by the
    run's seed, and differs between layers, so tokens that share an expert in one part in another. It has
    no loads to even out.
    """

    routes_by_hash = True

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__(config)
        generator = torch.Generator().manual_seed(zlib.crc32(f"hash routing {layer}".encode()))
        draws_VE = torch.rand(VOCABULARY, config.num_experts, generator=generator)
        self.register_buffer("table", draws_VE.topk(config.top_k, dim=-1).indices)

    def choose(self, tokens_BS: Tensor) -> Tensor:
        """The experts [B, S, K] of these tokens."""
        table_VK: Tensor = self.get_buffer("table")
        return table_VK[tokens_BS]

    def forward(self, x_BSC: Tensor, indices_BSK: Tensor | None = None) -> Routing:
        """Returns the routing of x by the indices that `choose` gave."""
        if indices_BSK is None:
            raise ConfigError("a hash router got no indices; give it those of choose(tokens)")
        return super().forward(x_BSC, indices_BSK)

    def count(self) -> None:
        """Counts nothing: a hash is not adjusted."""

    def _margin(self, scores_BSE: Tensor, indices_BSK: Tensor) -> Tensor:
        return scores_BSE.new_full(scores_BSE.shape[:-1], math.nan)


def balance_loss(routing: Routing) -> Tensor:
    """The sequence-wise balance loss (arXiv:2412.19437, eq. 17 to 20): 1 where each sequence is even.

    sum_e f_e P_e, mean over sequences, with f_e = E / (K S) times e's tokens and P_e the mean share of e in
    the affinities; `f` carries no gradient.
    """
    shares_BSE = routing.affinities / (routing.affinities.sum(-1, keepdim=True) + _EPSILON)
    num_experts = shares_BSE.shape[-1]
    tokens, top_k = routing.indices.shape[1:]
    chosen_BSE = torch.zeros_like(shares_BSE).scatter(-1, routing.indices, 1.0)
    frequency_BE = chosen_BSE.sum(1) * (num_experts / (top_k * tokens))
    return (frequency_BE * shares_BSE.mean(1)).sum(-1).mean()

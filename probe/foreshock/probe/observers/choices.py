"""Which experts were chosen, which would have been, and how surely: what several observers ask of routers.

Legend: B batch, S tokens, K sampled tokens, E experts, T chosen experts (top-k), C width.
"""

import torch
from torch import Tensor

from foreshock.probe.observers.measures import TokenSample


def sampled(tokens: TokenSample, x: Tensor, values: Tensor) -> Tensor:
    """The rows [K, ..] of `values` that belong to the sampled tokens of x, [B, S, C] or flat [N, C]."""
    rows = values.reshape(-1, values.shape[-1])
    if x.dim() >= 3:
        return rows.index_select(0, tokens.index(x))
    return rows[:: -(-len(x) // tokens.num_tokens)]


def margin(scores_KE: Tensor, top_k: int) -> Tensor:
    """How far the last chosen lies above the best of the others, [K]; inf where all are chosen."""
    if top_k >= scores_KE.shape[-1]:
        return scores_KE.new_full((len(scores_KE),), torch.inf)
    best_KT = scores_KE.topk(top_k + 1, dim=-1).values
    return best_KT[:, -2] - best_KT[:, -1]


def choice(scores_KE: Tensor, top_k: int) -> Tensor:
    """The experts [K, T] of the largest scores."""
    return scores_KE.topk(top_k, dim=-1).indices


def flips(one_KT: Tensor, other_KT: Tensor, *scores_KE: Tensor) -> Tensor:
    """1 - |one and other| / T of every token, [K]; NaN where one of the scores that they follow from is.

    A NaN chooses something, but nobody can say what would have been chosen; -inf is out of the choice.
    """
    is_common_KT = (one_KT.unsqueeze(-1) == other_KT.unsqueeze(-2)).any(-1)
    stale_K = 1.0 - is_common_KT.float().mean(-1)
    for scores in scores_KE:
        stale_K = stale_K.where(~scores.isnan().any(-1), torch.nan)
    return stale_K


def weighed(stale_K: Tensor, margin_K: Tensor) -> Tensor:
    """The mean over tokens, and that weighted by the margin: flips between equals are noise, [2]."""
    # Where nothing else could be chosen the margin is without bound, and weighs like any sure choice
    weight_K = torch.where(margin_K == torch.inf, 1.0, margin_K)
    weighted = (stale_K * weight_K).sum() / weight_K.sum().clamp_min(torch.finfo(torch.float32).tiny)
    return torch.stack((stale_K.mean(), weighted))

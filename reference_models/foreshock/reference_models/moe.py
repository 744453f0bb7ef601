"""A mixture of experts in the place of an MLP (DeepSeek-V4's form).

Shape suffixes: B batch, S tokens, C width, H hidden width of an expert, E experts, K chosen experts,
R rows, one for each token and chosen expert (R = B S K).
"""

import torch
from torch import Tensor, nn

from foreshock.reference_models.mlp import swiglu
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.norm import RMSNorm
from foreshock.reference_models.router import HashRouter, Router, balance_loss


class Expert(nn.Module):
    """One expert: a SwiGLU of hidden width `ModelConfig.expert_width`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.clamp = config.swiglu_clamp
        self.up = nn.Linear(config.width, 2 * config.applied_expert_width, bias=False)
        self.down = nn.Linear(config.applied_expert_width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns down(swiglu(up(x)))."""
        out: Tensor = self.down(swiglu(self.up(x), self.clamp))
        return out


class MoE(nn.Module):
    """The sparse sub-layer: a norm, a router, E experts of which each token sees K, and one that all see.

    Rows are sorted by expert, so each expert works once, on a block; the sums run in a fixed order. An
    expert without a token gets a gradient of 0, not none. `frozen_experts` leaves the experts as they
    were drawn, so that only the router learns.
    """

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.balance_rate = config.balance_rate
        self.norm = RMSNorm(config.width)
        self.router = HashRouter(config, layer) if layer < config.num_hash_layers else Router(config)
        self.experts = nn.ModuleList(Expert(config) for _ in range(config.num_experts))
        self.shared = Expert(config) if config.shared_expert else None
        if config.frozen_experts:
            self.experts.requires_grad_(False)
        self._penalty: Tensor | None = None

    def forward(self, x_BSC: Tensor, indices_BSK: Tensor | None = None) -> Tensor:
        """Returns what the experts make of x; they are the given ones, or those the router chooses."""
        normed_BSC = self.norm(x_BSC)
        routing = self.router(normed_BSC, indices_BSK)
        if self.balance_rate and self.training and torch.is_grad_enabled():
            self._penalty = self.balance_rate * balance_loss(routing)
        out_BSC = self._dispatch(normed_BSC, routing.indices, routing.weights)
        return out_BSC if self.shared is None else out_BSC + self.shared(normed_BSC)

    def choose(self, x_BSC: Tensor, indices_BSK: Tensor | None = None) -> None:
        """Has the router decide for x, which `router.last` then tells, and asks no expert."""
        self.router(self.norm(x_BSC), indices_BSK)

    def recombined(self, normed_RC: Tensor, indices_RK: Tensor) -> Tensor:
        """What the routed experts make of these normed rows under these choices; leaves no trace."""
        weights_RK = self.router.weights(self.router.affinities(normed_RC), indices_RK)
        return self._dispatch(normed_RC.unsqueeze(0), indices_RK.unsqueeze(0), weights_RK.unsqueeze(0))[0]

    def take_penalty(self) -> Tensor | None:
        """The balance loss of the last forward pass, once; None where there is none to pay."""
        penalty, self._penalty = self._penalty, None
        return penalty

    def _dispatch(self, x_BSC: Tensor, indices_BSK: Tensor, weights_BSK: Tensor) -> Tensor:
        expert_R = indices_BSK.flatten()
        order_R = expert_R.argsort(stable=True)
        rows_RC = x_BSC.unsqueeze(2).expand(*indices_BSK.shape, -1).flatten(0, 2)[order_R]
        counts = torch.bincount(expert_R, minlength=len(self.experts)).tolist()
        parts = torch.split(rows_RC, counts)
        done_RC = torch.cat([expert(part) for expert, part in zip(self.experts, parts, strict=True)])
        out_BSKC = done_RC[order_R.argsort()].view(*indices_BSK.shape, -1)
        return (weights_BSK.unsqueeze(-1) * out_BSKC).sum(2)

"""Routers of HF transformers: what is compared must choose what they chose."""

from typing import Any

import pytest
import torch
from torch import nn

from foreshock.probe.adapters import find_routers
from foreshock.probe.faults import Faults
from foreshock.probe.observers import RoutingObserver

from ..observers.conftest import Bench, bench

__all__ = ["bench"]

CONFIG: dict[str, Any] = {"hidden_size": 16, "num_experts_per_tok": 3, "num_local_experts": 8}


def router(kind: str) -> nn.Module:
    """A router with random weights and, where it has one, a random correction."""
    torch.manual_seed(0)
    made: nn.Module
    if kind == "mixtral":
        from transformers.models.mixtral.modeling_mixtral import MixtralConfig, MixtralTopKRouter

        made = MixtralTopKRouter(MixtralConfig(**CONFIG))
    elif kind == "qwen3_moe":
        from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeConfig, Qwen3MoeTopKRouter

        made = Qwen3MoeTopKRouter(Qwen3MoeConfig(hidden_size=16, num_experts_per_tok=3, num_experts=8))
    elif kind == "gpt_oss":
        from transformers.models.gpt_oss.modeling_gpt_oss import GptOssConfig, GptOssTopKRouter

        made = GptOssTopKRouter(GptOssConfig(**CONFIG))
    elif kind.startswith("deepseek_v3"):
        from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
            DeepseekV3Config,
            DeepseekV3TopkRouter,
        )

        groups = (4, 2) if kind.endswith("groups") else (1, 1)
        made = DeepseekV3TopkRouter(
            DeepseekV3Config(
                hidden_size=16,
                num_experts_per_tok=3,
                n_routed_experts=8,
                n_group=groups[0],
                topk_group=groups[1],
            )
        )
    else:
        from transformers.models.deepseek_v4.modeling_deepseek_v4 import (
            DeepseekV4Config,
            DeepseekV4TopKRouter,
        )

        made = DeepseekV4TopKRouter(DeepseekV4Config(**CONFIG))
    nn.init.normal_(made.weight)
    for name in ("bias", "e_score_correction_bias"):
        if isinstance(bias := getattr(made, name, None), torch.Tensor):
            nn.init.normal_(bias, std=0.5)
    return made.train()


KINDS = ("mixtral", "qwen3_moe", "gpt_oss", "deepseek_v3", "deepseek_v3 groups", "deepseek_v4")


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_scores_are_the_choice(kind: str) -> None:
    module = router(kind)
    (point,) = find_routers(nn.ModuleList([module, nn.Linear(16, 8)]))
    tokens = torch.randn(200, 16)
    with torch.no_grad():
        indices = point.indices((tokens,), module(tokens))
        scores = point.scores(tokens, point.state())
    assert scores is not None
    expected = scores.topk(3, dim=-1).indices.sort(-1).values
    assert torch.equal(indices.sort(-1).values, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_observed(bench: Bench, kind: str) -> None:
    module, faults = router(kind), Faults()
    bench.start(RoutingObserver(find_routers(module), num_sampled_tokens=64, faults=faults))
    for number in range(2):
        module(torch.randn(200, 16))
        bench.end_step()
        with torch.no_grad():
            module.weight.add_(0.3 * torch.randn_like(module.weight) * (number == 0))
    found = bench.read()
    assert not faults.counts and len(found) == 8
    assert 0 < found["router_staleness_weighted[0]"] < 1 and 0 < found["router_staleness[0]"] < 1
    assert found["router_margin_p01[0]"] >= 0 and found["router_staleness_applied[0]"] == 0.0


def mixture(kind: str) -> nn.Module:
    """The whole mixture of experts, with random weights everywhere."""
    torch.manual_seed(0)
    small: dict[str, Any] = {"hidden_size": 16, "num_experts_per_tok": 3, "intermediate_size": 24}
    made: nn.Module
    if kind == "mixtral":
        from transformers.models.mixtral.modeling_mixtral import MixtralConfig, MixtralSparseMoeBlock

        made = MixtralSparseMoeBlock(MixtralConfig(**small, num_local_experts=8))
    elif kind == "qwen3_moe":
        from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeConfig, Qwen3MoeSparseMoeBlock

        made = Qwen3MoeSparseMoeBlock(
            Qwen3MoeConfig(**small, num_experts=8, moe_intermediate_size=24, norm_topk_prob=False)
        )
    elif kind == "gpt_oss":
        from transformers.models.gpt_oss.modeling_gpt_oss import GptOssConfig, GptOssMLP

        made = GptOssMLP(GptOssConfig(**small, num_local_experts=8))
    elif kind == "deepseek_v3":
        from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Config, DeepseekV3MoE

        made = DeepseekV3MoE(
            DeepseekV3Config(**small, moe_intermediate_size=24, n_routed_experts=8, n_group=1, topk_group=1)
        )
    else:
        from transformers.models.deepseek_v4.modeling_deepseek_v4 import (
            DeepseekV4Config,
            DeepseekV4SparseMoeBlock,
        )

        config = DeepseekV4Config(**small, num_local_experts=8, moe_intermediate_size=24)
        made = DeepseekV4SparseMoeBlock(config, config.mlp_layer_types.index("moe"))
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made.train()


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe", "gpt_oss", "deepseek_v3", "deepseek_v4"])
def test_their_experts_say_what_other_choices_would_give(kind: str) -> None:
    block = mixture(kind)
    (point,) = find_routers(block)
    assert point.block is block
    x = torch.randn(2, 7, 16)
    asked: list[tuple[torch.Tensor, Any]] = []
    hook = block.experts.register_forward_hook(lambda module, args, output: asked.append((args, output)))
    with torch.no_grad():
        block(x)
    hook.remove()
    ((tokens, indices, _), output) = asked[0]
    with torch.no_grad():
        found = point.outputs(tokens, indices)
        assert torch.allclose(found, output, rtol=1e-4, atol=1e-5)
        # And under other choices, with weights that follow the model's own rule
        rolled = (indices + 1) % 8
        other = point.outputs(tokens, rolled)
    assert other.shape == found.shape and not torch.allclose(other, found, rtol=1e-2)


def test_a_table_of_deepseek_v4_has_loads_only(bench: Bench) -> None:
    from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4Config, DeepseekV4HashRouter

    module, faults = DeepseekV4HashRouter(DeepseekV4Config(**CONFIG, vocab_size=32)), Faults()
    nn.init.normal_(module.weight)
    module.tid2eid.copy_(torch.randint(0, 8, module.tid2eid.shape))
    bench.start(RoutingObserver(find_routers(module), num_sampled_tokens=64, faults=faults))
    module(torch.randn(2, 30, 16), torch.randint(0, 32, (2, 30)))
    assert not faults.counts
    assert set(bench.read()) == {
        f"router_{name}[0]" for name in ("max_violation", "entropy", "dead_experts", "similarity")
    }

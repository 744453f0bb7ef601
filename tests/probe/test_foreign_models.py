"""Whole models of HF transformers under the probe: what is seen, and that nothing fails or changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from foreshock.probe import attach
from foreshock.wire import parse_column

SMALL: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "vocab_size": 100,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
OF_ALL = {
    "loss", "grad_norm", "learning_rate", "update_rms", "adam_rms", "log_z", "norm_input_rms",
    "norm_weight_rms", "stream_rms", "stream_max", "stream_first_max", "headroom_bits",
    "canary_embedding_rms",
}  # fmt: skip
OF_MIXING = {
    "layer_amax_forward",
    "composite_amax_backward",
    "identity_distance",
    "canary_gain",
    "canary_grad_norm",
}
OF_EXPERTS = {"router_entropy", "router_staleness", "router_margin_p01", "router_similarity"}


def llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**SMALL, num_hidden_layers=3, num_key_value_heads=1))


def mixtral() -> nn.Module:
    from transformers import MixtralConfig, MixtralForCausalLM

    return MixtralForCausalLM(
        MixtralConfig(**SMALL, num_hidden_layers=2, num_key_value_heads=1, num_local_experts=4)
    )


def deepseek_v3() -> nn.Module:
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    latent = {
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
    }
    experts = {"n_routed_experts": 8, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 2}
    return DeepseekV3ForCausalLM(
        DeepseekV3Config(
            **SMALL, **latent, **experts, num_hidden_layers=3, num_key_value_heads=2,
            moe_intermediate_size=16, first_k_dense_replace=1,
        )
    )  # fmt: skip


def deepseek_v4() -> nn.Module:
    from transformers.models.deepseek_v4 import DeepseekV4Config, DeepseekV4ForCausalLM

    return DeepseekV4ForCausalLM(
        DeepseekV4Config(
            **SMALL, num_hidden_layers=3, num_local_experts=4, num_experts_per_tok=2,
            moe_intermediate_size=16, head_dim=16, q_lora_rank=16, o_lora_rank=16, o_groups=2,
            qk_rope_head_dim=8, index_n_heads=2, index_head_dim=16, index_topk=4, hc_mult=4, sliding_window=8,
            num_hash_layers=1,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "further"),
    [
        (llama, {"max_attention_logit", "swiglu_headroom"}),
        (mixtral, {"max_attention_logit", "swiglu_headroom", *OF_EXPERTS}),
        (deepseek_v3, {"max_attention_logit", "swiglu_headroom", *OF_EXPERTS}),
        (deepseek_v4, {"max_attention_logit", "swiglu_headroom", *OF_MIXING, *OF_EXPERTS}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_model_of_transformers_shows(
    make: Callable[[], nn.Module], further: set[str], tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    def trained(watched: bool) -> tuple[Any, list[torch.Tensor]]:
        torch.manual_seed(0)
        model = make().train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        probe = attach(model, optimizer, mode="offline", directory=tmp_path) if watched else None
        generator = torch.Generator().manual_seed(1)
        for _ in range(11):
            tokens = torch.randint(3, 100, (2, 16), generator=generator)
            loss = model(input_ids=tokens, labels=tokens).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if probe:
                probe.step(loss)
        if probe:
            probe.finish()
            assert not any(module._forward_hooks for module in model.modules())
        return probe, [parameter.detach().clone() for parameter in model.parameters()]

    probe, with_probe = trained(True)
    _, without = trained(False)
    assert all(torch.equal(one, two) for one, two in zip(with_probe, without, strict=True))
    assert not probe.faults.counts
    series = read_spool(probe).series
    names = {parse_column(column).signal.name for column, points in series.items() if points}
    assert OF_ALL | further <= names
    if "layer_amax_forward" in further:
        # comb's columns, which Sinkhorn leaves exact, are the rows of what the layer applies
        assert series["layer_row_error_max[5]"][10] < 1e-4

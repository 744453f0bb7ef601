"""The largest attention logit against matrices multiplied in full, in float64."""

import math
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foreshock.probe.faults import Faults
from foreshock.probe.findings import look_at
from foreshock.probe.observers import AttentionObserver

from .conftest import Bench

ORIGINAL = F.scaled_dot_product_attention
ORIGINAL_SOFTMAX = torch.softmax


class GivenAttention(nn.Module):
    """Attends from given queries to given keys."""

    def __init__(self, query: Tensor, key: Tensor, **options: Any) -> None:
        super().__init__()
        self.query, self.key, self.options = query, key, options

    def forward(self) -> Tensor:
        value = torch.zeros_like(self.key)
        return F.scaled_dot_product_attention(self.query, self.key, value, **self.options)


def heads(batch: int = 2, num: int = 4, tokens: int = 24, width: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(batch, num, tokens, width, generator=torch.Generator().manual_seed(seed))


def logits(query: Tensor, key: Tensor, scale: float | None = None) -> Tensor:
    return query.double() @ key.double().mT * (scale or query.shape[-1] ** -0.5)


def observed(bench: Bench, *modules: nn.Module) -> dict[str, float]:
    faults = Faults()
    observer = bench.start(AttentionObserver(modules, faults=faults))
    for module in modules:
        module()
    observer.close()
    assert not faults.counts
    return bench.read()


def test_causal_logits_above_the_diagonal_do_not_count(bench: Bench) -> None:
    query, key = heads(seed=1), heads(seed=2)
    query[0, 0, 3], key[0, 0, 20] = 5.0, 5.0
    allowed = torch.ones(24, 24).tril().bool()
    wanted = logits(query, key).masked_fill(~allowed, -math.inf).max()
    assert wanted < logits(query, key).max()
    found = observed(bench, GivenAttention(query, key, is_causal=True))
    assert found == {"max_attention_logit[0]": pytest.approx(float(wanted), rel=1e-5)}


@pytest.mark.parametrize("kind", ["bool", "additive", "broadcast", "finite"])
def test_masks_are_heeded(bench: Bench, kind: str) -> None:
    query, key = heads(seed=3), heads(seed=4)
    keep = torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(5)) < 0.3
    keep[..., 0] = True
    if kind == "broadcast":
        keep = keep[:, :, :1]
    bias = torch.randn(keep.shape, generator=torch.Generator().manual_seed(6))
    lowest = -math.inf if kind != "finite" else torch.finfo(torch.float32).min
    mask = keep if kind in ("bool", "broadcast") else bias.masked_fill(~keep, lowest)
    wanted = logits(query, key) + (0 if mask.dtype == torch.bool else bias)
    found = observed(bench, GivenAttention(query, key, attn_mask=mask))
    assert found["max_attention_logit[0]"] == pytest.approx(
        float(wanted.masked_fill(~keep, -math.inf).max()), rel=1e-5
    )


def test_grouped_keys_and_a_scale_of_ones_own(bench: Bench) -> None:
    query, key = heads(num=6, seed=7), heads(num=2, seed=8)
    wanted = logits(query, key.repeat_interleave(3, 1), scale=0.7).max()
    found = observed(bench, GivenAttention(query, key, enable_gqa=True, scale=0.7))
    assert found["max_attention_logit[0]"] == pytest.approx(float(wanted), rel=1e-5)


def test_layers_are_told_apart_and_the_last_query_is_always_sampled(bench: Bench) -> None:
    queries = [torch.zeros(1, 1, 1000, 8) for _ in range(3)]
    for layer, query in enumerate(queries):
        query[..., -1, 0] = 10.0 * (layer + 1)
    key = torch.zeros(1, 1, 1000, 8)
    key[..., 0] = 1.0
    found = observed(bench, *(GivenAttention(query, key) for query in queries))
    wanted = [10 * (layer + 1) / math.sqrt(8) for layer in range(3)]
    assert [found[f"max_attention_logit[{layer}]"] for layer in range(3)] == pytest.approx(wanted, rel=1e-5)


def test_logits_that_are_not_finite_are_told(bench: Bench) -> None:
    query = heads()
    query[0, 0, -1, 0] = math.nan
    assert math.isnan(observed(bench, GivenAttention(query, heads()))["max_attention_logit[0]"])


def test_torch_is_as_it_was_after_each_call_also_one_that_fails(bench: Bench) -> None:
    broken = GivenAttention(heads(), heads(width=5))
    observer = bench.start(AttentionObserver([broken], faults=Faults()))
    with pytest.raises(RuntimeError):
        broken()
    assert torch.softmax is ORIGINAL_SOFTMAX
    observer.close()
    assert F.scaled_dot_product_attention is ORIGINAL


def test_two_watch_one_module_and_nobody_watches_what_is_not_due(bench: Bench) -> None:
    module, faults = GivenAttention(heads(), heads(seed=1)), Faults()
    second = Bench()
    for one in (bench, second):
        one.start(AttentionObserver([module], faults=faults))
    module()
    assert bench.read() == second.read() and len(bench.read()) == 1
    bench.end_step()
    bench.clock.begin(1)
    before = bench.read()
    module.query = 100 * module.query
    module()
    assert bench.read() == before != second.read()
    assert torch.softmax is ORIGINAL_SOFTMAX
    module.eval()
    second.end_step()
    before = second.read()
    module()
    assert second.read() == before and not faults.counts
    bench.close()
    assert F.scaled_dot_product_attention is not ORIGINAL  # the second still listens
    second.close()
    assert F.scaled_dot_product_attention is ORIGINAL


class OwnAttention(nn.Module):
    """Multiplies by itself, as hand-written attention does."""

    def __init__(self, query: Tensor, key: Tensor, kind: str) -> None:
        super().__init__()
        self.query, self.key, self.kind = query, key, kind

    def forward(self) -> Tensor:
        scores = self.query @ self.key.mT * self.query.shape[-1] ** -0.5
        scores = scores.masked_fill(~torch.ones(24, 24).tril().bool(), -math.inf)
        # A gate over another axis is no attention
        torch.softmax(100 * scores.nan_to_num(neginf=0.0), dim=1)
        match self.kind:
            case "function":
                return F.softmax(scores, dim=-1, dtype=torch.float32)
            case "torch":
                return torch.softmax(scores, 3)
            case "method":
                return scores.softmax(dim=-1)
            case _:
                return (scores - scores.amax(-1, keepdim=True)).softmax(-1)


@pytest.mark.parametrize("kind", ["function", "torch", "method"])
def test_attention_that_multiplies_by_itself_is_seen_at_its_softmax(bench: Bench, kind: str) -> None:
    query, key = heads(seed=1), heads(seed=2)
    wanted = logits(query, key).masked_fill(~torch.ones(24, 24).tril().bool(), -math.inf).max()
    module = OwnAttention(query, key, kind)
    plain = module()
    assert observed(bench, module) == {"max_attention_logit[0]": pytest.approx(float(wanted), rel=1e-5)}
    assert torch.equal(module(), plain)
    assert "softmax" not in vars(Tensor) and torch.softmax is ORIGINAL_SOFTMAX


def test_logits_whose_largest_was_taken_off_say_nothing(bench: Bench) -> None:
    assert observed(bench, OwnAttention(heads(seed=1), heads(seed=2), "shifted")) == {}


@pytest.mark.parametrize(
    ("kind", "implementation"),
    [
        *((kind, "eager") for kind in ("mixtral", "deepseek_v3", "deepseek_v4", "gpt_oss")),
        # The sinks of the others have no such form
        *((kind, "sdpa") for kind in ("mixtral", "deepseek_v3")),
    ],
)
def test_attention_of_transformers_is_seen_whichever_way_it_is_computed(
    bench: Bench, kind: str, implementation: str
) -> None:
    model = foreign_model(kind, implementation)
    modules = [module for _, module in look_at(model).attention]
    tokens = torch.randint(0, 64, (2, 24), generator=torch.Generator().manual_seed(0))
    told: list[tuple[Tensor, Tensor, float]] = []
    file = sys.modules[type(modules[0]).__module__]
    if implementation == "eager":
        # What the model itself multiplies, over the same queries
        original = file.eager_attention_forward

        def eager(module: nn.Module, query: Tensor, key: Tensor, *args: Any, **options: Any) -> Any:
            told.append((query.detach(), key.detach(), options["scaling"]))
            return original(module, query, key, *args, **options)

        file.eager_attention_forward = eager
    faults = Faults()
    observer = bench.start(AttentionObserver(modules, faults=faults))
    try:
        model(tokens)
    finally:
        observer.close()
        if implementation == "eager":
            assert file.eager_attention_forward is eager
            file.eager_attention_forward = original
    found = bench.read()
    assert not faults.counts and len(found) == len(modules)
    for layer, (query, key, scale) in enumerate(told):
        full = logits(query, key.repeat_interleave(query.shape[1] // key.shape[1], 1), scale)
        # Causal, and in V4 keys that are compressed lie behind the tokens' own
        allowed = torch.ones(24, 24).tril().bool()
        wanted = full[..., :24].masked_fill(~allowed, -math.inf).max()
        if kind != "deepseek_v4":
            assert found[f"max_attention_logit[{layer}]"] == pytest.approx(float(wanted), rel=1e-4)
        else:
            assert found[f"max_attention_logit[{layer}]"] >= float(wanted) - 1e-4


def foreign_model(kind: str, implementation: str) -> nn.Module:
    """A tiny model of transformers, with weights large enough for logits to differ."""
    import transformers

    torch.manual_seed(0)
    small: dict[str, Any] = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_experts_per_tok": 2,
        "num_local_experts": 4,
        "attn_implementation": implementation,
    }
    match kind:
        case "mixtral":
            config = transformers.MixtralConfig(**small)
        case "gpt_oss":
            config = transformers.GptOssConfig(**small, head_dim=8)
        case "deepseek_v3":
            config = transformers.DeepseekV3Config(
                **small | {"num_key_value_heads": 4},
                n_routed_experts=4,
                n_group=1,
                topk_group=1,
                moe_intermediate_size=16,
                q_lora_rank=16,
                kv_lora_rank=8,
                qk_rope_head_dim=8,
                qk_nope_head_dim=8,
                v_head_dim=8,
            )
        case _:
            config = transformers.DeepseekV4Config(
                **small | {"num_key_value_heads": 1}, hc_mult=2, moe_intermediate_size=16
            )
    model = transformers.AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.train()
    return model

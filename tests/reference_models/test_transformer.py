"""The transformer: causal, the same start for all connections, configurations that cannot be refused."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from foreshock.reference_models.errors import ConfigError
from foreshock.reference_models.transformer import (
    MLP,
    Attention,
    ModelConfig,
    Transformer,
    rotary_table,
    rotate,
)


def small(connection: str = "mhc", **changes: object) -> ModelConfig:
    config = ModelConfig.sized(connection, 2, width=32, context=16)
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("connection", ["residual", "hc", "mhc"])
def test_no_token_sees_a_later_one(connection: str) -> None:
    model = Transformer(small(connection))
    tokens = torch.arange(32).reshape(2, 16)
    changed = tokens.clone()
    changed[:, 9] = 200
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.equal(before[:, 9:], after[:, 9:])


def test_connections_start_from_the_same_weights() -> None:
    models = {
        name: dict(Transformer(small(name), seed=5).named_parameters()) for name in ("residual", "hc", "mhc")
    }
    shared = [name for name in models["residual"] if ".mixing." not in name]
    assert len(shared) > 10
    for name in shared:
        assert torch.equal(models["residual"][name], models["hc"][name])
        assert torch.equal(models["residual"][name], models["mhc"][name])


def test_the_start_does_not_depend_on_the_global_generator() -> None:
    torch.manual_seed(1)
    first = Transformer(small()).state_dict()
    torch.manual_seed(2)
    again, other = Transformer(small()).state_dict(), Transformer(small(), seed=1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_attention_reads_by_relative_position() -> None:
    cos_SD, sin_SD = rotary_table(16)
    query, key = torch.randn(2, 32, generator=torch.Generator().manual_seed(0)).unbind()
    turned_query = rotate(query.expand(16, 32), cos_SD, sin_SD)
    turned_key = rotate(key.expand(16, 32), cos_SD, sin_SD)
    scores = turned_query @ turned_key.T
    for distance in range(-15, 16):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(turned_query.norm(dim=-1), query.norm().expand(16))


def test_attention_is_softmax_over_what_came_before() -> None:
    config = small()
    attention = Attention(config)
    x = torch.randn(1, 16, 32, generator=torch.Generator().manual_seed(0))
    query, key, value = attention.qkv(F.rms_norm(x, (32,), eps=1e-6))[0].chunk(3, dim=-1)
    cos_SD, sin_SD = rotary_table(16)
    scores = rotate(query, cos_SD, sin_SD) @ rotate(key, cos_SD, sin_SD).T / 32**0.5
    weights = scores.masked_fill(torch.ones(16, 16).triu(1) > 0, -torch.inf).softmax(-1)
    torch.testing.assert_close(attention(x)[0], attention.out(weights @ value), rtol=1e-4, atol=1e-5)


def test_the_mlp_is_swiglu() -> None:
    mlp = MLP(small())
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    gate, linear = mlp.up(F.rms_norm(x, (32,), eps=1e-6)).chunk(2, dim=-1)
    torch.testing.assert_close(mlp(x), mlp.down(gate * torch.sigmoid(gate) * linear))


def test_one_dial_sizes_the_model() -> None:
    assert (ModelConfig.sized("mhc").width, ModelConfig.sized("mhc").context) == (256, 256)
    assert ModelConfig.sized("hc", 6).width == 128
    assert ModelConfig.sized("hc", 6).num_streams == 4
    assert ModelConfig.sized("residual", 6).num_streams == 1
    assert ModelConfig.sized("mhc", 6).num_layers == 12


def test_a_probe_is_told_what_the_model_is() -> None:
    model = Transformer(small("hc", precision="fp16"))
    assert model.stream_dtype == torch.float16
    expected = {"connection": "hc", "num_streams": 4, "num_layers": 4, "precision": "fp16", "norm": "rmsnorm"}
    assert expected.items() <= model.foreshock_config.items()
    seen: list[torch.dtype] = []
    model.layers[1].mixing.register_forward_hook(lambda module, given, out: seen.append(given[0].dtype))
    model(torch.zeros(1, 4, dtype=torch.int64))
    assert seen == [torch.float16]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"connection": "hx"}, "'hx'; choose one of residual, hc, mhc"),
        ({"precision": "fp8"}, "'fp8'; choose one of fp32, bf16, fp16"),
        ({"mhc_init": "zero"}, "choose one of uniform, near_identity"),
        ({"num_blocks": 0}, "num_blocks is 0; give 1 to"),
        ({"context": 1}, "context is 1; give 2 to"),
        ({"num_streams": 9}, "num_streams is 9; give 1 to 8"),
        ({"width": 40}, "multiple of 32"),
        ({"width": 0}, "multiple of 32"),
        ({"connection": "residual", "num_streams": 4}, "residual connection has 1 stream, not 4"),
    ],
)
def test_what_cannot_be_is_refused_in_words(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        small(**changes)  # type: ignore[arg-type]

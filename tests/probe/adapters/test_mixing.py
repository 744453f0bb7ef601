"""Matrices of other people's models, read as they are applied: streams are mixed by them, and compared.

Each model mixes with random, asymmetric matrices that depend on the token. The proof of an orientation is
the model's own output: a layer whose branch returns nothing must give H x, by the H that the adapter read.
"""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from foreshock.probe import AttachError, attach
from foreshock.probe.adapters import find_mixing
from foreshock.probe.observers.mixed import Mixed, MixingPoint

hyper_connections = pytest.importorskip("hyper_connections")


class Nothing(nn.Module):
    """A branch that adds nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def shaken(module: nn.Module, scale: float = 0.5, seed: int = 0) -> nn.Module:
    """The module with every parameter moved at random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator).to(parameter.dtype))
    return module


def readings(model: nn.Module, call: Callable[[], Any]) -> tuple[list[Mixed], Any]:
    """What the adapters read in one call, layer by layer, and what the call returned."""
    points, read = find_mixing(model), list[Mixed]()

    def keep(point: MixingPoint) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            mixed = point.read(args, output)
            assert mixed is not None
            read.append(mixed)

        return hook

    for point in points:
        point.start()
    handles = [point.module.register_forward_hook(keep(point)) for point in points]
    result = call()
    for handle in handles:
        handle.remove()
    for point in points:
        point.close()
    return read, result


def assert_tells_the_token_and_the_side(h_res: Tensor) -> None:
    """A matrix that could pass for its transpose, or for another token's, would prove nothing."""
    assert not torch.allclose(h_res, h_res.mT, atol=1e-2)
    flat = h_res.flatten(0, -3)
    assert not torch.allclose(flat[0], flat[1], atol=1e-3)


@pytest.mark.parametrize("constrained", [False, True])
def test_lucidrains(constrained: bool) -> None:
    package = __import__("hyper_connections.manifold_constrained_hyper_connections", fromlist=["mHC"])
    kind = package.mHC if constrained else hyper_connections.HyperConnections
    model = shaken(kind(4, dim=16, branch=Nothing(), layer_index=1))
    before = dict(vars(model))
    x = torch.randn(3 * 4, 7, 16)
    (mixed,), after = readings(model, lambda: model(x))
    assert mixed.streams is not None
    assert mixed.streams.shape == (3, 7, 4, 16) and mixed.h_res.shape == (3, 7, 4, 4)
    assert_tells_the_token_and_the_side(mixed.h_res)
    expected = mixed.h_res @ mixed.streams
    assert torch.allclose(after.unflatten(0, (3, 4)).movedim(1, 2), expected, atol=1e-5)
    row_error, column_error = ((mixed.h_res.sum(axis) - 1).abs().max() for axis in (-1, -2))
    assert (max(row_error, column_error) < 0.1) == constrained
    if mixed.h_pre is not None:
        model.branch = None
        branch_input, _ = model(x)
        read = torch.einsum("bsn,bsnc->bsc", mixed.h_pre, mixed.streams)
        assert torch.allclose(branch_input, read, atol=1e-5)
        model.branch = before["_modules"]["branch"]
    assert vars(model) == before


def test_lucidrains_other_shapes_are_left_alone() -> None:
    model = nn.ModuleList(
        [
            hyper_connections.HyperConnections(4, dim=16, num_fracs=2),
            hyper_connections.Residual(),
            nn.Linear(2, 2),
        ]
    )
    assert find_mixing(model) == []


def test_two_probes_listen_to_one_constraint(tmp_path: Path, read_spool: Callable[..., Any]) -> None:
    package = __import__("hyper_connections.manifold_constrained_hyper_connections", fromlist=["mHC"])
    model = shaken(package.mHC(2, dim=8, branch=nn.Linear(8, 8)))
    original = model.residual_mix_constraint_fn
    probes = [attach(model, mode="offline", directory=tmp_path) for _ in range(2)]
    model(torch.randn(4, 3, 8)).sum().backward()
    for probe in probes:
        probe.step(1.0)
    probes[0].finish()
    model(torch.randn(4, 3, 8))
    probes[1].step(1.0)
    probes[1].finish()
    assert model.residual_mix_constraint_fn is original
    first, second = (read_spool(probe).series["layer_amax_forward_max[0]"] for probe in probes)
    assert first[0] == second[0] and list(second) == [0, 1]


def test_transformers_deepseek_v4() -> None:
    from transformers.models.deepseek_v4 import DeepseekV4Config
    from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4DecoderLayer

    class Silent(nn.Module):
        def forward(self, x: Tensor, **_: Any) -> Any:
            return torch.zeros_like(x), None

    class SilentExperts(nn.Module):
        def forward(self, x: Tensor, **_: Any) -> Tensor:
            return torch.zeros_like(x)

    config = DeepseekV4Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_local_experts=4, hc_mult=4,
        moe_intermediate_size=16, vocab_size=64, num_experts_per_tok=2,
    )  # fmt: skip
    torch.manual_seed(0)
    layer = DeepseekV4DecoderLayer(config, 1)
    layer.self_attn, layer.mlp = Silent(), SilentExperts()
    for part in (layer.attn_hc, layer.ffn_hc):
        for parameter in part.parameters():
            nn.init.normal_(parameter, std=0.7)
    x = torch.randn(2, 5, 4, 32)
    (attention, experts), after = readings(layer, lambda: layer(x))
    for mixed in (attention, experts):
        assert_tells_the_token_and_the_side(mixed.h_res)
        # Sinkhorn ends with comb's columns, which are H's rows
        assert (mixed.h_res.sum(-1) - 1).abs().max() < 1e-4 < (mixed.h_res.sum(-2) - 1).abs().max()
    assert experts.streams is not None
    assert torch.allclose(experts.streams, attention.h_res @ x, atol=1e-5)
    assert torch.allclose(after, experts.h_res @ experts.streams, atol=1e-5)


LIGER = """
import sys, torch
from torch import nn
sys.path.insert(0, sys.argv[1])
from liger_kernel.transformers import mhc
from test_mixing import Nothing, assert_tells_the_token_and_the_side, readings
original = mhc.liger_mhc_coeffs
torch.manual_seed(0)
def layer(scale):
    made = mhc.LigerMHC(Nothing(), hc=4, c=32, phi_dtype=torch.float32, allow_fp32=True)
    with torch.no_grad():
        made.phi.mul_(scale)
        made.b.normal_(std=2.0)
    return made
model = nn.Sequential(layer(20), layer(30))
x = torch.randn(2, 8, 4, 32)
(first, second), after = readings(model, lambda: model(x))
for mixed in (first, second):
    assert_tells_the_token_and_the_side(mixed.h_res)
assert torch.allclose(second.streams, first.h_res @ x, atol=1e-4)
assert torch.allclose(after, second.h_res @ second.streams, atol=1e-4)
assert mhc.liger_mhc_coeffs is original
"""


def test_liger_kernel_under_triton_s_interpreter() -> None:
    pytest.importorskip("liger_kernel")
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LIGER, str(Path(__file__).parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


class PastedBlock(nn.Module):
    """A hyper-connection as it is pasted from a paper: its matrix is kept, and returned."""

    def __init__(self, width: int = 16, streams: int = 3) -> None:
        super().__init__()
        self.to_matrix = nn.Linear(width, streams * streams)
        self.streams = streams
        self.h_res = torch.zeros(())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.h_res = self.to_matrix(x.mean(2)).unflatten(-1, (self.streams, self.streams))
        return self.h_res.mT @ x, self.h_res

    def matrix(self) -> Tensor:
        return self.h_res


class PastedModel(nn.Module):
    """Three such blocks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(PastedBlock() for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x, _ = block(x)
        return x


@pytest.mark.parametrize("where", [".h_res.T", ".matrix().T", "[1].T"])
def test_a_pasted_block_is_read_by_a_path(where: str, tmp_path: Path, read_spool: Callable[..., Any]) -> None:
    model, x = PastedModel(), torch.randn(2, 6, 3, 16)
    probe = attach(model, mode="offline", directory=tmp_path, mixing={"blocks.*": where}, total_steps=10)
    model(x)
    probe.step(1.0)
    probe.finish()
    assert not probe.faults.counts
    series = read_spool(probe).series
    for layer, block in enumerate(model.blocks):
        rows = block.h_res.detach().double().mT.sum(-1).abs().amax(-1)
        columns = block.h_res.detach().double().mT.sum(-2).abs().amax(-1)
        assert float(rows.mean()) != pytest.approx(float(columns.mean()), rel=1e-3)
        assert series[f"layer_amax_forward_mean[{layer}]"][0] == pytest.approx(float(rows.mean()), rel=1e-5)
        assert series[f"layer_amax_backward_max[{layer}]"][0] == pytest.approx(float(columns.max()), rel=1e-5)
    assert math.isfinite(series["stream_rms[2]"][0]) and "composite_norm_inf_max[2]" in series


def test_one_matrix_for_all_tokens_is_enough(tmp_path: Path, read_spool: Callable[..., Any]) -> None:
    class Static(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.A = nn.Parameter(torch.tensor([[2.0, 1.0], [0.0, 1.0]]))

        def forward(self, x: Tensor) -> Tensor:
            return self.A @ x

    model = nn.Sequential(Static(), Static())
    probe = attach(model, mode="offline", directory=tmp_path, mixing={"?": ".A"}, total_steps=10)
    model(torch.randn(2, 5, 2, 8))
    probe.step(1.0)
    probe.finish()
    assert not probe.faults.counts
    series = read_spool(probe).series
    assert series["composite_amax_forward_mean[1]"][0] == pytest.approx(7.0)
    assert series["composite_amax_backward_mean[0]"][0] == pytest.approx(4.0)
    np.testing.assert_allclose(series["layer_amax_forward_mean[0]"][0], 3.0)


def test_a_matrix_that_is_only_local_is_handed_over(tmp_path: Path, read_spool: Callable[..., Any]) -> None:
    model = nn.Linear(4, 4)
    probe = attach(model, mode="offline", directory=tmp_path, total_steps=10)
    matrices = torch.eye(2) + 0.5 * torch.randn(4, 3, 2, 5, 2, 2, generator=torch.Generator().manual_seed(0))
    for step in range(4):
        model(torch.randn(2, 4))
        for layer in range(3):
            probe.observe("h_res", matrices[step, layer], layer=layer)
        probe.step(1.0)
    probe.finish()
    assert not probe.faults.counts
    series = read_spool(probe).series
    for step in (1, 2, 3):
        first, second, third = matrices[step].double()
        rows = second.sum(-1).abs().amax(-1)
        assert series["layer_amax_forward_mean[1]"][step] == pytest.approx(float(rows.mean()), rel=1e-5)
        # Composites leave first tokens out
        composite = (third @ second @ first)[:, 1:].sum(-1).abs().amax()
        assert series["composite_amax_forward_max[2]"][step] == pytest.approx(float(composite), rel=1e-5)
    assert list(series["layer_amax_forward_mean[1]"]) == [1, 2, 3] and list(series["loss"]) == [0, 1, 2, 3]
    assert series["canary_gain"].keys() == {1, 2, 3}


def test_what_observe_cannot_take_is_told_and_harms_nothing(tmp_path: Path) -> None:
    probe = attach(nn.Linear(4, 4), mode="offline", directory=tmp_path)
    for _ in range(2):
        probe.observe("h_res", torch.eye(3), layer=0)
        probe.observe("attention", torch.eye(3), layer=0)
        probe.observe("h_res", torch.eye(3), layer=-1)
        probe.observe("h_res", torch.ones(2, 3), layer=0)
        probe.step(1.0)
    probe.finish()
    assert sum(probe.faults.counts.values()) == 5


@pytest.mark.parametrize(
    ("mixing", "words"),
    [
        ({"layers.*": ".h_res"}, "no module is called so; there are blocks, blocks.0"),
        ({"blocks.*": "h_res"}, r"give .attribute, .method\(\) or \[place"),
        ({"blocks.*": ".h_res.T.T"}, "with .T after it"),
    ],
)
def test_paths_that_lead_nowhere_are_told_at_attach(
    mixing: dict[str, str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(AttachError, match=words):
        attach(PastedModel(), mode="offline", directory=tmp_path, mixing=mixing)


def test_a_named_matrix_of_another_shape_is_told_once_and_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = PastedModel()
    probe = attach(model, mode="offline", directory=tmp_path, mixing={"blocks.*.to_matrix": ".weight"})
    for _ in range(2):
        model(torch.randn(2, 6, 3, 16))
        probe.step(1.0)
    probe.finish()
    assert sum(probe.faults.counts.values()) == 6
    assert [record for record in caplog.records if "give [n, n] or [B, S, n, n]" in record.message]

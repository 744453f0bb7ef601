"""SwiGLU's inputs against sorting all of them."""

import importlib
import math

import pytest
import torch
from torch import nn

from foreshock.probe.faults import Faults
from foreshock.probe.findings import look_at
from foreshock.probe.observers import SwigluObserver
from foreshock.probe.observers.swiglu import GatedUnit

from .conftest import Bench


class Given(nn.Module):
    """Returns what it is given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def room(inputs: torch.Tensor, clamp: float) -> float:
    ordered = inputs.double().flatten().sort(descending=True).values
    return math.log(clamp / float(ordered[max(1, round(1e-3 * len(ordered))) - 1]))


def test_one_module_for_both_parts_with_a_clamp(bench: Bench) -> None:
    both, part = torch.randn(4, 16, 2 * 32, generator=torch.Generator().manual_seed(0)) * 4, Given()
    faults = Faults()
    bench.start(SwigluObserver([GatedUnit("mlp", 0, (part,), 7.0)], faults=faults))
    part(both)
    gate, linear = both.chunk(2, -1)
    inputs = torch.cat((gate, linear.abs()))
    found = bench.read()
    assert not faults.counts
    assert found["swiglu_saturation[0]"] == pytest.approx(float((inputs >= 7).double().mean()), rel=1e-5)
    assert found["swiglu_headroom[0]"] == pytest.approx(room(inputs, 7.0), rel=1e-5)


def test_a_negative_gate_is_no_load_but_a_negative_linear_part_is(bench: Bench) -> None:
    gate, linear = Given(), Given()
    bench.start(SwigluObserver([GatedUnit("mlp", 0, (gate, linear), 10.0)], faults=Faults()))
    gate(torch.full((2, 3, 8), -100.0))
    assert bench.read()["swiglu_headroom[0]"] > 80 and bench.read()["swiglu_saturation[0]"] == 0
    linear(torch.full((2, 3, 8), -100.0))
    assert bench.read()["swiglu_headroom[0]"] == pytest.approx(math.log(0.1), rel=1e-5)
    assert bench.read()["swiglu_saturation[0]"] == 1


def test_the_worst_expert_speaks_for_its_layer_until_the_step_ends(bench: Bench) -> None:
    parts = [Given() for _ in range(3)]
    units = [GatedUnit(f"experts.{number}", 0, (part,), None) for number, part in enumerate(parts)]
    bench.start(SwigluObserver(units, faults=Faults()))
    for part, size in zip(parts, (1.0, 5.0, 2.0), strict=True):
        part(torch.full((3, 8), size))
    parts[0](torch.empty(0, 8))  # an expert without a token
    assert bench.read()["swiglu_headroom[0]"] == pytest.approx(math.log(10 / 5), rel=1e-5)
    bench.end_step()
    parts[0](torch.full((3, 8), 1.0))
    assert bench.read()["swiglu_headroom[0]"] == pytest.approx(math.log(10), rel=1e-5)
    parts[1](torch.full((3, 8), math.nan))
    assert math.isnan(bench.read()["swiglu_headroom[0]"])


class HuggingFace(nn.Module):
    """The names that HF's decoders give a SwiGLU."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(4, 8), nn.Linear(4, 8)
        self.down_proj = nn.Linear(8, 4)


class Llama(nn.Module):
    """Those of Llama's own code."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.w2, self.w3 = nn.Linear(4, 8), nn.Linear(8, 4), nn.Linear(4, 8)
        self.swiglu_limit = 7


class Fused(nn.Module):
    """Both parts in one projection."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.gate_up_proj, self.down_proj = nn.Linear(4, factor * 8), nn.Linear(8, 4)


class Mixture(nn.Module):
    """Experts, and one that all tokens see."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(HuggingFace() for _ in range(3))
        self.shared_experts = HuggingFace()


def test_swiglus_are_known_by_their_projections() -> None:
    model = nn.ModuleList([HuggingFace(), Llama(), Fused(2), Mixture(), Fused(1), nn.Linear(4, 8)])
    found = look_at(model).gated
    layers = [(unit.name, unit.layer, len(unit.parts), unit.clamp) for unit in found]
    assert layers == [
        ("0", 0, 2, None),
        ("1", 1, 2, 7.0),
        ("2", 2, 1, None),
        ("3.experts.0", 3, 2, None),
        ("3.experts.1", 3, 2, None),
        ("3.experts.2", 3, 2, None),
        ("3.shared_experts", 3, 2, None),
    ]
    assert found[1].parts == (model[1].w1, model[1].w3)


class FusedExperts(nn.Module):
    """Experts in the form of HF transformers: projections in one tensor, the activation a module."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gate_up_proj = nn.Parameter(torch.randn(3, 2 * 8, 4))
        self.act_fn, self.limit = nn.SiLU(), 2.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gates = []
        for weight in self.gate_up_proj:
            gate, linear = (x @ weight.T).chunk(2, -1)
            gates.append(self.act_fn(gate.clamp(max=self.limit)) * linear)
        return torch.stack(gates)


def test_experts_kept_as_one_tensor_are_read_at_their_activation(bench: Bench) -> None:
    model, faults = nn.ModuleDict({"mlp": nn.ModuleDict({"experts": FusedExperts()})}), Faults(strict=True)
    ((unit),) = look_at(model).gated
    assert (unit.name, unit.clamp, unit.form) == ("mlp.experts", 2.0, "gate")
    bench.start(SwigluObserver([unit], faults=faults))
    experts, x = model["mlp"]["experts"], torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    experts(x)
    gates = [(x @ weight.T).chunk(2, -1)[0].clamp(max=2.0) for weight in experts.gate_up_proj]
    shares = [float((gate >= 2.0).double().mean()) for gate in gates]
    assert 0 < min(shares) < max(shares) < 1
    # The worst expert speaks for the layer
    assert bench.read()["swiglu_saturation[0]"] == pytest.approx(max(shares), rel=1e-5)
    assert bench.read()["swiglu_headroom[0]"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("kind", ["gpt_oss", "deepseek_v4"])
@pytest.mark.parametrize("implementation", ["eager", "grouped_mm"])
def test_experts_with_a_gate_of_their_own_are_read_before_the_clamp(
    kind: str, implementation: str, bench: Bench
) -> None:
    """gpt-oss has both parts in turn, DeepSeek-V4 one behind the other; both clamp both."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if kind == "gpt_oss":
        config = transformers.GptOssConfig(hidden_size=8, intermediate_size=16, num_local_experts=3)
        config.swiglu_limit = 1.5
        module = importlib.import_module("transformers.models.gpt_oss.modeling_gpt_oss")
        experts = module.GptOssExperts(config)
    else:
        config = transformers.DeepseekV4Config(
            hidden_size=8, moe_intermediate_size=16, n_routed_experts=3, swiglu_limit=1.5
        )
        module = importlib.import_module("transformers.models.deepseek_v4.modeling_deepseek_v4")
        experts = module.DeepseekV4Experts(config)
    config._experts_implementation = implementation
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.normal_()
    x = torch.randn(20, 8)
    indices = torch.stack([torch.randperm(3)[:2] for _ in range(20)])
    weights = torch.full((20, 2), 0.5)
    before = experts(x, indices, weights)
    seen: list[torch.Tensor] = []
    own = type(experts)._apply_gate
    with pytest.MonkeyPatch.context() as patch:

        def told(self: nn.Module, both: torch.Tensor) -> torch.Tensor:
            seen.append(both)
            return own(self, both)

        patch.setattr(type(experts), "_apply_gate", told)
        experts(x, indices, weights)
    (unit,) = look_at(nn.ModuleDict({"mlp": nn.ModuleDict({"experts": experts})})).gated
    assert unit.form == ("alternating" if kind == "gpt_oss" else "halves") and unit.clamp == 1.5
    faults = Faults(strict=True)
    observer = bench.start(SwigluObserver([unit], faults=faults))
    assert torch.equal(experts(x, indices, weights), before)
    shares = []
    for both in seen:
        parts = (both[:, ::2], both[:, 1::2]) if kind == "gpt_oss" else both.chunk(2, -1)
        inputs = torch.cat((parts[0], parts[1].abs()))
        shares.append(float((inputs >= 1.5).double().mean()))
    assert bench.read()["swiglu_saturation[0]"] == pytest.approx(max(shares), rel=1e-5)
    assert 0 < max(shares) < 1
    observer.close()
    assert "_apply_gate" not in vars(experts)

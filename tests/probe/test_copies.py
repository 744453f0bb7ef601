"""What a script does with a watched model beside training it: copies it, pickles it, averages its weights."""

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from foreshock.probe import attach
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.transformer import Transformer


def reference() -> nn.Module:
    return Transformer(
        ModelConfig(connection="mhc", num_blocks=2, width=32, context=16, num_experts=4), seed=0
    )


def lucidrains() -> nn.Module:
    mhc = pytest.importorskip("hyper_connections.manifold_constrained_hyper_connections")
    return nn.Sequential(
        mhc.ManifoldConstrainedHyperConnections(4, dim=8, branch=nn.Linear(8, 8), layer_index=0)
    )


def gpt_oss() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.GptOssConfig(
        hidden_size=32, intermediate_size=16, num_local_experts=3, num_experts_per_tok=2, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, vocab_size=50,
    )  # fmt: skip
    return transformers.GptOssForCausalLM(config)


MODELS: dict[str, tuple[Any, torch.Tensor]] = {
    "reference": (reference, torch.zeros(2, 16, dtype=torch.long)),
    "lucidrains": (lucidrains, torch.ones(4, 3, 8)),
    "gpt_oss": (gpt_oss, torch.zeros(2, 8, dtype=torch.long)),
}


# What a forward pass shows of a layer
SEEN = ("layer_amax", "stream_rms", "swiglu", "max_attention", "norm_input", "router_load")


def loss_of(model: nn.Module, given: torch.Tensor) -> torch.Tensor:
    output = model(given)
    return (output.logits if hasattr(output, "logits") else output).float().square().mean()


@pytest.mark.parametrize("name", MODELS)
def test_a_copy_is_whole_and_tells_the_probe_nothing(name: str, tmp_path: Path, read_spool: Any) -> None:
    make, given = MODELS[name]
    model = make()
    probe = attach(model, mode="offline", directory=tmp_path, deep=True)

    def step() -> torch.Tensor:
        loss = loss_of(model, given)
        loss.backward()
        probe.step(loss)
        return loss.detach()

    first = step()
    copies = [copy.deepcopy(model), AveragedModel(model).module, pickle.loads(pickle.dumps(model))]
    for one in copies:
        again = loss_of(one, given)
        again.backward()
        assert torch.equal(again.detach(), first)
        with torch.no_grad():
            for parameter in one.parameters():
                parameter.mul_(3.0)
        loss_of(one, given).backward()
    step()
    probe.finish()
    assert not probe.faults.counts
    # Nothing has moved the model between its two steps: what the copies' passes had told would be seen
    series = read_spool(probe).series
    compared = [series[name] for name in series if name.startswith(SEEN) and len(series[name]) == 2]
    assert compared
    for values in compared:
        assert values[1] == pytest.approx(values[0], rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_probes_leave_a_method_as_it_was(order: tuple[int, int], tmp_path: Path) -> None:
    model = gpt_oss()
    experts = model.model.layers[0].mlp.experts
    probes = [attach(model, mode="offline", directory=tmp_path) for _ in range(2)]
    assert "_apply_gate" in vars(experts)
    for which in order:
        loss_of(model, MODELS["gpt_oss"][1])
        probes[which].finish()
    assert "_apply_gate" not in vars(experts)
    assert not probes[0].faults.counts and not probes[1].faults.counts


def test_a_pickled_model_is_read_where_foreshock_is_not(tmp_path: Path) -> None:
    model = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4))
    probe = attach(model, mode="offline", directory=tmp_path)
    data = io.BytesIO()
    torch.save(model, data)
    probe.finish()
    assert b"foreshock" not in data.getvalue()


def test_what_copies_are_made_of_works_in_a_process_of_its_own(tmp_path: Path) -> None:
    """gpt-oss's method is the one of the copy, not of the model that was watched."""
    model = gpt_oss()
    probe = attach(model, mode="offline", directory=tmp_path)
    torch.save(model, tmp_path / "model.pt")
    probe.finish()
    code = (
        "import sys, torch; sys.modules['foreshock'] = None\n"
        f"model = torch.load({str(tmp_path / 'model.pt')!r}, weights_only=False)\n"
        "print(model(torch.zeros(2, 8, dtype=torch.long)).logits.float().square().mean().item())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = loss_of(model, MODELS["gpt_oss"][1]).item()
    assert float(done.stdout) == pytest.approx(expected, rel=1e-5)

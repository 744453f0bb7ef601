"""A model under torch.compile: seen as in eager mode, without a graph break or a recompilation of ours."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from foreshock.probe import attach
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.transformer import Transformer
from foreshock.wire import parse_column

# Of torch itself, where inductor is imported first
pytestmark = pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")


@pytest.mark.parametrize("connection", ["hc", "mhc"])
def test_a_compiled_model_shows_what_an_eager_one_does(
    connection: Any, tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    def recorded(compiled: bool) -> tuple[Any, int]:
        torch._dynamo.reset()
        counters.clear()
        config = ModelConfig(connection=connection, num_blocks=2, width=32, context=16, swiglu_clamp=10.0)
        model = Transformer(config, seed=0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        callable_ = torch.compile(model, backend="aot_eager", fullgraph=True) if compiled else model
        probe = attach(callable_, optimizer, mode="offline", directory=tmp_path, composite_every=4)
        generator = torch.Generator().manual_seed(0)
        graphs = 0
        for step in range(12):
            tokens = torch.randint(0, 256, (2, 17), generator=generator)
            logits = callable_(tokens[:, :-1])
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
            if step == 0:
                graphs = counters["stats"]["unique_graphs"]
        probe.finish()
        assert not probe.faults.counts
        assert not counters["graph_break"]
        assert counters["stats"]["unique_graphs"] == graphs == int(compiled)
        return read_spool(probe).series, graphs

    (eager, _), (compiled, _) = recorded(False), recorded(True)
    compared = 0
    for column, points in eager.items():
        signal = parse_column(column).signal
        if signal is None or column.endswith("_seconds"):
            continue
        assert compiled[column].keys() == points.keys(), column
        for step, value in points.items():
            found = compiled[column][step]
            same = math.isclose(found, value, rel_tol=2e-2, abs_tol=2e-3)
            assert same or signal.name.startswith(("log_singular", "log_stream")), (
                column,
                step,
                found,
                value,
            )
            compared += 1
    assert compared > 1000


class Mixture(nn.Module):
    """A mixture of experts that a graph can hold whole: every token gathers the matrices of its experts."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()
        self.maps = nn.Parameter(torch.randn(4, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        _, indices = self.gate(x)
        return torch.einsum("btkcd,btd->btc", self.maps[indices], x)


class Gate(nn.Module):
    """Chooses two of four."""

    is_expert_router = True

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 8))
        self.register_buffer("bias", torch.zeros(4))

    def affinity(self, logits: Tensor) -> Tensor:
        return logits

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        affinity = x @ self.weight.T
        return affinity, affinity.topk(2, dim=-1).indices


class Routed(nn.Module):
    """Two such mixtures on a residual stream."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(64, 8)
        self.blocks = nn.ModuleList(Mixture() for _ in range(2))
        self.head = nn.Linear(8, 64)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_routers_are_seen_with_what_they_route_for(
    backend: str, tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    def recorded(compiled: bool) -> Any:
        torch._dynamo.reset()
        counters.clear()
        torch.manual_seed(0)
        model = Routed()
        callable_ = torch.compile(model, backend=backend, fullgraph=True) if compiled else model
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        probe = attach(callable_, optimizer, mode="offline", directory=tmp_path, deep=True)
        generator = torch.Generator().manual_seed(0)
        for _ in range(3):
            tokens = torch.randint(64, (4, 33), generator=generator)
            probe.domains(["code", "code", "prose", "prose"])
            loss = callable_(tokens).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.replay(lambda: model(torch.arange(33).unsqueeze(0)))
            probe.step(loss)
        probe.finish()
        assert not probe.faults.counts and not counters["graph_break"]
        return read_spool(probe).series

    eager, compiled = recorded(False), recorded(True)
    for name in (
        "router_tear[1]",
        "router_domain_distance[0]",
        "router_staleness_fixed[1]",
        "router_entropy[0]",
    ):
        assert list(eager[name]), name
        assert compiled[name] == pytest.approx(eager[name], rel=1e-3, abs=1e-4), name


def test_what_cannot_be_picked_in_a_trace_is_told_when_the_graph_runs(tmp_path: Path) -> None:
    """The weight that is named here is no square."""
    torch._dynamo.reset()
    model = torch.nn.Sequential(torch.nn.Linear(4, 6))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    probe = attach(compiled, mode="offline", directory=tmp_path, mixing={"0": ".weight"})
    compiled(torch.zeros(2, 4))
    probe.step(1.0)
    probe.finish()
    assert probe.faults.counts == {"observing a mixing matrix: LookupError": 1}


def test_a_probe_that_has_left_lets_the_graph_go_on(tmp_path: Path) -> None:
    torch._dynamo.reset()
    model = Transformer(ModelConfig(connection="hc", num_blocks=1, width=32, context=16), seed=0)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    probe = attach(compiled, mode="offline", directory=tmp_path)
    tokens = torch.zeros(1, 16, dtype=torch.long)
    first = compiled(tokens)
    probe.finish()
    assert torch.equal(compiled(tokens), first)


# Of transformers, and of torch 2.11 where it traces what it was given
@pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore:The .grad attribute:UserWarning"
)
def test_attention_of_a_compiled_model_of_transformers_is_seen(
    tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    """With fewer keys than queries, and padding; without a graph or a break that it had not before."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=16, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=50, attn_implementation="sdpa",
    )  # fmt: skip
    tokens = torch.randint(50, (3, 40), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(tokens)
    mask[0, 30:] = 0

    def trained(watched: bool, compiled: bool) -> tuple[Any, int]:
        torch._dynamo.reset()
        counters.clear()
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(4.0)
        call = torch.compile(model, backend="aot_eager") if compiled else model
        probe = attach(call, mode="offline", directory=tmp_path, deep=True) if watched else None
        for _ in range(3):
            loss = call(input_ids=tokens, attention_mask=mask, labels=tokens).loss
            loss.backward()
            if probe:
                probe.step(loss)
        breaks = sum(counters["graph_break"].values())
        graphs = int(counters["stats"]["unique_graphs"])
        if probe is None:
            return None, breaks + graphs
        probe.finish()
        assert not probe.faults.counts
        return read_spool(probe).series, breaks + graphs

    eager, _ = trained(True, False)
    _, before = trained(False, True)
    compiled, after = trained(True, True)
    assert after == before
    for layer in range(2):
        name = f"max_attention_logit[{layer}]"
        assert len(eager[name]) == 3 and compiled[name] == pytest.approx(eager[name], rel=1e-4)

"""A model under torch.compile: seen as in eager mode, without a graph break or a recompilation of ours."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from foreshock.probe import attach
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.transformer import Transformer
from foreshock.wire import parse_column

# Attention is looked at where torch's function is called, which a compiled graph does no more
NOT_SEEN = {"max_attention_logit"}


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
        if signal is None or signal.name in NOT_SEEN or column.endswith("_seconds"):
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

"""Every signal of the catalogue is emitted by something, and nothing else is."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from foreshock.probe import Probe, attach
from foreshock.probe.host import GPU_COLUMNS, HostMeter
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.optimizers import build_optimizer
from foreshock.reference_models.train_config import OptimizerConfig, TrainConfig
from foreshock.reference_models.transformer import Transformer
from foreshock.wire import CATALOGUE, parse_column

SHAPE: Any = {"num_blocks": 2, "width": 32, "context": 64}


def recorded(config: TrainConfig, directory: Path, num_steps: int) -> Probe:
    """A probe that has watched a short training."""
    model = Transformer(config.model, seed=0)
    optimizer = build_optimizer(model, config)
    probe = attach(model, optimizer, mode="offline", directory=directory, deep=True)
    generator = torch.Generator().manual_seed(0)
    fixed = torch.randint(0, 256, (2, 17), generator=generator)
    for _ in range(num_steps):
        tokens = torch.randint(0, 256, (8, 65), generator=generator)
        probe.domains(["code", "prose"] * 4)
        loss = model.loss(tokens)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        probe.trust(loss, lambda tokens=tokens: model.loss(tokens))
        probe.replay(lambda: model.loss(fixed))
        probe.step(loss)
    probe.finish()
    assert not probe.faults.counts
    return probe


def test_mhc_with_experts_and_hc_emit_the_whole_catalogue(
    read_spool: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreshock.probe.writer.HostMeter", partial(HostMeter, seconds=0.0))
    experts = ModelConfig(**SHAPE, connection="mhc", num_experts=4, swiglu_clamp=10.0)
    # At this rate HC's layers leave their band, so that the canary has something to tell
    unconstrained = TrainConfig(model=ModelConfig(**SHAPE, connection="hc"), learning_rate=0.1)
    signals = set()
    for config, num_steps in (
        (TrainConfig(model=experts, optimizer=OptimizerConfig(name="muon")), 11),
        (unconstrained, 40),
    ):
        series = read_spool(recorded(config, tmp_path, num_steps)).series
        signals |= {parse_column(column).signal for column, points in series.items() if points}
    assert None not in signals
    # There is no GPU where tests run; test_host.py plays one
    assert {signal.name for signal in signals if signal} == set(CATALOGUE) - set(GPU_COLUMNS)

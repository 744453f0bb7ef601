"""Models and optimizers inside of wrappers: Accelerate's, torch.compile's, DataParallel's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from foreshock.probe import attach
from foreshock.probe.unwrap import unwrapped_model, unwrapped_optimizer

accelerate = pytest.importorskip("accelerate")


def test_a_loop_of_accelerate(loop: Any, tmp_path: Path, read_spool: Callable[..., Any]) -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    model, optimizer = accelerator.prepare(loop.model, loop.optimizer)
    probe = attach(model, optimizer, mode="offline", directory=tmp_path, total_steps=5)
    for _ in range(3):
        loss = model(torch.zeros(2, 9, dtype=torch.long)).square().mean()
        optimizer.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()
        probe.step(loss)
    probe.finish()
    assert not probe.faults.counts
    series = read_spool(probe).series
    assert series["learning_rate"] == {step: pytest.approx(1e-3) for step in range(3)}
    assert all(value < 1 for value in series["clip_coefficient"].values())
    assert set(series["step_skipped"].values()) == {0.0} and series["update_rms"][0] > 0


def test_wrappers_are_taken_off() -> None:
    inner = nn.Linear(2, 2)
    assert unwrapped_model(nn.DataParallel(torch.compile(inner, backend="eager"))) is inner  # type: ignore[arg-type]
    optimizer = torch.optim.SGD(inner.parameters(), lr=0.1)

    class Outer:
        def __init__(self, optimizer: Any) -> None:
            self.optimizer = optimizer

    assert unwrapped_optimizer(Outer(Outer(optimizer))) is None  # type: ignore[comparison-overlap]
    assert unwrapped_optimizer(Outer(optimizer)) is optimizer
    assert unwrapped_optimizer(None) is None

"""The trust ratio on a quadratic, where it is known exactly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foreshock.probe import attach


class Quadratic(nn.Module):
    """L = theta' A theta / 2, A asymmetric in its axes."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        root = torch.randn(12, 12, generator=generator)
        self.A = root @ root.T
        self.theta = nn.Parameter(torch.randn(12, generator=generator))

    def forward(self) -> Tensor:
        return 0.5 * self.theta @ self.A @ self.theta


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("rate", [1e-3, 0.05, 0.2])
def test_it_is_one_less_half_the_curvature_over_the_promise(
    rate: float, clip: float | None, tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    model = Quadratic()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    probe = attach(model, optimizer, mode="offline", directory=tmp_path, strict=True)
    loss = model()
    loss.backward()
    gradient, before = model.theta.grad.double().clone(), model.theta.detach().double().clone()
    if clip:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    update = model.theta.detach().double() - before
    probe.trust(loss, model)
    probe.step(loss)
    probe.finish()
    promised = -float(gradient @ update)
    expected = 1 - float(update @ model.A.double() @ update) / (2 * promised)
    assert read_spool(probe).series["trust_ratio"][0] == pytest.approx(expected, rel=2e-3, abs=2e-3)
    assert (expected < 0) == (rate == 0.2 and clip is None)


def test_it_is_asked_when_due_and_unknown_without_a_direction(
    tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    model, asked = Quadratic(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    probe = attach(model, optimizer, mode="offline", directory=tmp_path, strict=True)
    for step in range(52):
        loss = model()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        def again(step: int = step) -> Tensor:
            asked.append(step)
            return model()

        probe.trust(loss, again)
        probe.step(loss)
    probe.finish()
    assert asked == [0, 50] and not read_spool(probe).series["trust_ratio"]


def test_a_forward_that_fails_is_counted(loop: Any, tmp_path: Path) -> None:
    def broken() -> Tensor:
        raise RuntimeError("out of memory")

    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    loss = loop.step()
    probe.trust(loss, broken)
    probe.step(loss)
    probe.finish()
    assert probe.faults.counts == {"probe.trust: RuntimeError": 1}

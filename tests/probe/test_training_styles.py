"""The probe in the ways that people train: recomputed, mixed in precision, scaled, accumulated, frozen."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from foreshock.probe import attach

TOKENS = torch.arange(18).reshape(2, 9) % 32


class Recomputing(nn.Module):
    """A model whose layers are computed again in the backward pass."""

    def __init__(self, model: Any, *, reentrant: bool | None) -> None:
        super().__init__()
        self.model, self.reentrant = model, reentrant

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.model.embedding(tokens).unsqueeze(2).repeat(1, 1, self.model.num_streams, 1)
        for layer in self.model.layers:
            x = self._mixed(layer, x)
        out: torch.Tensor = self.model.head(x.sum(2))
        return out

    def _mixed(self, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        def mix(x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = layer(x)[2] @ x
            return out

        if self.reentrant is None:
            return mix(x)
        out: torch.Tensor = checkpoint(mix, x, use_reentrant=self.reentrant)
        return out


def recorded(
    model: nn.Module, tmp_path: Path, read_spool: Callable[..., Any], *, num_steps: int = 3
) -> dict[str, dict[int, float]]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    probe = attach(model, optimizer, mode="offline", directory=tmp_path, total_steps=10)
    for _ in range(num_steps):
        loss = model(TOKENS).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
    probe.finish()
    assert not probe.faults.counts
    series: dict[str, dict[int, float]] = read_spool(probe).series
    del series["step_seconds"], series["probe_seconds"]
    return series


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputed_layers_are_recorded_as_if_they_were_not(
    reentrant: bool, make_model: Callable[..., Any], tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    plain = recorded(Recomputing(make_model(), reentrant=None), tmp_path, read_spool)
    again = recorded(Recomputing(make_model(), reentrant=reentrant), tmp_path, read_spool)
    assert plain.keys() == again.keys() and "composite_norm_two_mean[4]" in plain
    for column, points in plain.items():
        assert again[column] == pytest.approx(points, rel=1e-5, abs=1e-7, nan_ok=True), column


def test_autocast(loop: Any, tmp_path: Path, read_spool: Callable[..., Any]) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path, total_steps=10)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            loss = loop.model(TOKENS).float().square().mean()
        loop.optimizer.zero_grad()
        loss.backward()
        loop.optimizer.step()
        probe.step(loss)
    probe.finish()
    assert not probe.faults.counts
    series = read_spool(probe).series
    assert all(math.isfinite(series[name][1]) for name in ("loss", "grad_norm", "composite_norm_inf_max[4]"))


def test_a_step_that_the_scaler_skips_is_recorded_as_skipped(
    loop: Any, tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    for step in range(3):
        loss = loop.model(TOKENS).square().mean() * (math.inf if step == 1 else 1.0)
        loop.optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(loop.optimizer)
        torch.nn.utils.clip_grad_norm_(loop.model.parameters(), 1.0)
        scaler.step(loop.optimizer)
        scaler.update()
        probe.step(loss)
    probe.finish()
    series = read_spool(probe).series
    assert series["step_skipped"] == {0: 0.0, 1: 1.0, 2: 0.0}
    assert not math.isfinite(series["grad_norm"][1]) and math.isfinite(series["grad_norm"][2])
    assert not probe.faults.counts


def test_accumulated_gradients_are_measured_once_a_step(
    loop: Any, tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    norms = []
    for _ in range(2):
        loop.optimizer.zero_grad()
        for part in range(3):
            (loop.model(TOKENS + part).square().mean() / 3).backward()
        gradients = [one.grad.double().square().sum() for one in loop.model.parameters()]
        norms.append(math.sqrt(float(sum(gradients))))
        loop.optimizer.step()
        probe.step()
    probe.finish()
    assert list(read_spool(probe).series["grad_norm"].values()) == pytest.approx(norms, rel=1e-5)


def test_two_optimizers_and_frozen_parameters(
    make_model: Callable[..., Any], tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    model = make_model()
    model.embedding.requires_grad_(False)
    first = torch.optim.SGD(model.layers.parameters(), lr=0.1)
    second = torch.optim.AdamW(model.head.parameters(), lr=0.01)
    probe = attach(model, first, mode="offline", directory=tmp_path)
    for _ in range(2):
        loss = model(TOKENS).square().mean()
        for optimizer in (first, second):
            optimizer.zero_grad()
        loss.backward()
        for optimizer in (first, second):
            optimizer.step()
        probe.step(loss)
    probe.finish()
    assert not probe.faults.counts
    series = read_spool(probe).series
    assert series["learning_rate"] == {0: pytest.approx(0.1), 1: pytest.approx(0.1)}
    assert series["update_rms"][0] > 0 and series["grad_norm"][1] > 0


def test_shapes_that_change_and_layers_that_come_later(
    loop: Any, tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    class Given(nn.Module):
        is_stream_mixing = True

        def forward(self, x: torch.Tensor) -> Any:
            return x[..., 0], x[..., 0], torch.eye(4).expand(*x.shape[:2], 4, 4)

    model = nn.Sequential(nn.Embedding(32, 8), Given())
    probe = attach(model, mode="offline", directory=tmp_path)
    for length in (3, 9, 1, 200):
        x = model[0](torch.zeros(2, length, dtype=torch.long))
        model[1](x.unsqueeze(2).repeat(1, 1, 4, 1))
        probe.step(1.0)
    model.append(Given())
    model[2](torch.zeros(1, 2, 4, 8))
    probe.step(1.0)
    probe.finish()
    assert not probe.faults.counts
    assert list(read_spool(probe).series["layer_amax_forward_max[0]"]) == [0, 1, 2, 3]


def test_a_step_that_is_closed_twice_or_never(
    loop: Any, tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    loss = loop.step()
    probe.step(loss)
    probe.step(loss)
    loop.step()
    loop.step()
    probe.step(loss)
    probe.finish()
    assert list(read_spool(probe).series["loss"]) == [0, 1, 2] and not probe.faults.counts
    never = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    for _ in range(50):
        loop.step()
    never.finish()
    assert [event.kind for event in read_spool(never).events] == ["finished"]


@pytest.mark.parametrize("value", [None, "words", [1.0, 2.0], torch.zeros(3), {"a": 1}, b"x"])
def test_values_that_are_no_numbers_are_told_once(
    value: Any, loop: Any, tmp_path: Path, read_spool: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    for _ in range(3):
        probe.log({"bad": value, "good": torch.tensor(2.5), "huge": 10**400, "flag": True})
        probe.step(1.0)
    probe.finish()
    series = read_spool(probe).series
    assert series["good"] == {0: 2.5, 1: 2.5, 2: 2.5} and "bad" not in series
    assert series["huge"][0] == math.inf and series["flag"][2] == 1.0
    told = [record for record in caplog.records if "'bad'" in record.message]
    assert len(told) == 1

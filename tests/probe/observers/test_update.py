"""The optimizer's update against the parameters themselves, whole and in float64."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from foreshock.probe.faults import Faults
from foreshock.probe.observers import UpdateObserver
from foreshock.probe.observers.update import ENTRIES

from .conftest import Bench


def small(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 3))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    optimizer.zero_grad()
    model(torch.randn(8, 6)).square().sum().backward()
    optimizer.step()


def flat(tensors: Any) -> torch.Tensor:
    return torch.cat([tensor.detach().double().reshape(-1) for tensor in tensors])


MAKERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, betas=(0.8, 0.9), weight_decay=0.3),
    "adamw, all at once": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, fused=True),
}


@pytest.mark.parametrize("name", MAKERS)
def test_size_and_direction_are_those_of_the_whole_update(bench: Bench, name: str) -> None:
    model = small()
    optimizer = MAKERS[name](model.parameters())
    step(model, optimizer, 0)
    faults = Faults()
    bench.start(UpdateObserver(model.parameters(), optimizer, faults))
    before = flat(model.parameters())
    step(model, optimizer, 1)
    update = flat(model.parameters()) - before
    gradient = flat(parameter.grad for parameter in model.parameters())
    found = bench.read()
    assert not faults.counts
    assert found["update_rms"] == pytest.approx(float(update.square().mean().sqrt()), rel=1e-4)
    assert found["update_ratio"] == pytest.approx(float(update.norm() / before.norm()), rel=1e-4)
    cosine = float(-(update @ gradient) / (update.norm() * gradient.norm()))
    assert found["update_cosine"] == pytest.approx(cosine, rel=1e-3)
    if name == "sgd":
        assert "adam_rms" not in found
        return
    group = optimizer.param_groups[0]
    second = flat(optimizer.state[one]["exp_avg_sq"] for one in model.parameters()) / (
        1 - group["betas"][1] ** 2
    )
    ratio = gradient.square() / (second + group["eps"] ** 2)
    assert found["adam_rms"] == pytest.approx(float(ratio.mean().sqrt()), rel=1e-4)


def test_a_sample_stands_for_the_whole_of_its_parameter(bench: Bench) -> None:
    """A large parameter moves by 1, a small one by 3: entries count alike, not samples."""
    large, tiny = nn.Parameter(torch.zeros(100 * ENTRIES)), nn.Parameter(torch.zeros(ENTRIES))
    optimizer = torch.optim.SGD([{"params": [large], "lr": 1.0}, {"params": [tiny], "lr": 3.0}])
    bench.start(UpdateObserver([large, tiny], optimizer, Faults()))
    large.grad, tiny.grad = torch.ones_like(large), torch.ones_like(tiny)
    optimizer.step()
    assert bench.read()["update_rms"] == pytest.approx(math.sqrt((100 * 1 + 9) / 101), rel=1e-5)


def test_a_sample_is_of_all_columns(bench: Bench) -> None:
    """At a distance of 128 a 256 x 256 sample is of two columns; the one that moves is 1 of 256."""
    matrix = nn.Parameter(torch.zeros(256, 256))
    optimizer = torch.optim.SGD([matrix], lr=1.0)
    bench.start(UpdateObserver([matrix], optimizer, Faults()))
    matrix.grad = torch.zeros(256, 256)
    matrix.grad[:, 0] = 16.0
    optimizer.step()
    assert bench.read()["update_rms"] == pytest.approx(1.0, rel=0.3)


def test_parameters_without_a_gradient_take_no_part(bench: Bench) -> None:
    model = small()
    model[0].requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    faults = Faults()
    bench.start(UpdateObserver(model.parameters(), optimizer, faults))
    step(model, optimizer, 1)
    assert not faults.counts and bench.read()["update_rms"] > 0


def test_nothing_is_written_while_it_is_not_due_or_the_step_was_skipped(bench: Bench) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    bench.start(UpdateObserver(model.parameters(), optimizer, Faults()))
    bench.clock.begin(3)
    step(model, optimizer, 0)
    assert bench.read() == {}
    bench.clock.begin(10)
    bench.end_step()  # the scaler has skipped it
    assert bench.read() == {}


def test_an_update_that_is_not_finite_is_written_as_it_is(bench: Bench) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=math.inf)
    bench.start(UpdateObserver(model.parameters(), optimizer, Faults()))
    step(model, optimizer, 0)
    found = bench.read()
    assert not any(map(math.isfinite, (found["update_rms"], found["update_ratio"])))


def test_sparse_gradients_are_left_out(bench: Bench) -> None:
    embedding = nn.Embedding(10, 4, sparse=True)
    optimizer = torch.optim.SGD(embedding.parameters(), lr=0.1)
    faults = Faults()
    bench.start(UpdateObserver(embedding.parameters(), optimizer, faults))
    embedding(torch.tensor([1, 2])).sum().backward()
    optimizer.step()
    assert not faults.counts and bench.read() == {}

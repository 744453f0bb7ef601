"""Muon's orthogonality: known errors are found again, by torch's optimizer and by ours."""

from typing import Any

import pytest
import torch
from torch import nn

from foreshock.probe.faults import Faults
from foreshock.probe.observers import OrthogonalityObserver
from foreshock.probe.observers.orthogonality import muon_matrices, orthogonality_error
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.muon import Muon
from foreshock.reference_models.optimizers import build_optimizer
from foreshock.reference_models.train_config import OptimizerConfig, TrainConfig
from foreshock.reference_models.transformer import Transformer

from .conftest import Bench


def exact_error(update: torch.Tensor) -> float:
    """Of all rows, by singular values, in float64."""
    values = torch.linalg.svdvals(update.double())
    values = values / values.square().mean().sqrt()
    return float((values.square() - 1).square().mean().sqrt())


@pytest.mark.parametrize("shape", [(7, 20), (20, 7), (6, 6)])
@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0])
def test_it_is_the_spread_of_the_squares_of_singular_values(shape: tuple[int, int], spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    u, s, v = torch.linalg.svd(torch.randn(*shape, generator=generator), full_matrices=False)
    update = 1e-4 * (u * (1 + spread * torch.linspace(-0.9, 1.0, len(s)))) @ v
    short = update if shape[0] <= shape[1] else update.T
    assert orthogonality_error(short).item() == pytest.approx(exact_error(update), rel=1e-3, abs=1e-4)


def step(bench: Bench, weight: torch.Tensor, optimizer: torch.optim.Optimizer, faults: Faults) -> None:
    bench.start(OrthogonalityObserver(optimizer, faults))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    optimizer.step()


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (3, 12, 40)])
@pytest.mark.parametrize("decay", [0.0, 2.0])
def test_our_muon_is_orthogonal_and_decay_is_taken_off(
    bench: Bench, shape: tuple[int, ...], decay: float
) -> None:
    weight, faults = nn.Parameter(torch.randn(shape)), Faults()
    step(bench, weight, Muon([weight], lr=1e-2, weight_decay=decay), faults)
    found = bench.read()
    # Squares of singular values in [1, 1.0042], and what is left of a difference in float32
    assert not faults.counts and 0 <= found["muon_orthogonality_max"] < 0.005
    assert found["muon_orthogonality_mean"] == found["muon_orthogonality_max"]


def test_torchs_muon_with_fewer_iterations_is_less_so(bench: Bench) -> None:
    weight, before = nn.Parameter(torch.randn(12, 40)), None
    before = weight.detach().clone()
    optimizer = torch.optim.Muon([weight], lr=1e-2, weight_decay=0.1)
    step(bench, weight, optimizer, Faults(strict=True))
    expected = exact_error(weight.detach().double() - before.double() * (1 - 1e-3))
    assert 0.05 < expected
    assert bench.read()["muon_orthogonality_max"] == pytest.approx(expected, rel=0.02)


def test_of_a_mixed_optimizer_only_muons_matrices_are_read() -> None:
    config: Any = TrainConfig(
        model=ModelConfig(connection="mhc", num_blocks=1, width=32, context=16),
        optimizer=OptimizerConfig(name="muon"),
    )
    model = Transformer(config.model, seed=0)
    optimizer = build_optimizer(model, config)
    found = {id(one) for one, _ in muon_matrices(optimizer)}
    trained = {id(one) for group in optimizer.param_groups if "betas" not in group for one in group["params"]}
    assert found and found == trained
    assert not muon_matrices(torch.optim.AdamW(model.parameters()))


def test_a_step_without_gradients_or_in_low_precision_says_nothing(bench: Bench) -> None:
    weight = nn.Parameter(torch.randn(4, 8))
    optimizer = Muon([weight], lr=1e-2)
    faults = Faults()
    bench.start(OrthogonalityObserver(optimizer, faults))
    optimizer.step()
    assert not bench.read() and not faults.counts
    assert not muon_matrices(Muon([nn.Parameter(torch.randn(4, 8, dtype=torch.bfloat16))], lr=1e-2))

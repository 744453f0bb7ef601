"""Choices on a batch that stays the same, and what they change in the output, against sorting in numpy."""

from typing import Any

import numpy as np
import pytest
import torch

from foreshock.probe.faults import Faults
from foreshock.probe.findings import look_at
from foreshock.probe.observers import ReplayObserver, RoutingObserver
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.moe import MoE

from .conftest import Bench

EXPERTS, TOP_K, WIDTH = 6, 2, 32


def a_mixture(**options: Any) -> MoE:
    torch.manual_seed(0)
    config = ModelConfig(
        connection="residual",
        num_streams=1,
        num_blocks=1,
        width=WIDTH,
        context=16,
        num_experts=EXPERTS,
        top_k=TOP_K,
        **options,
    )
    mixture = MoE(config, layer=0)
    mixture.router.get_buffer("bias").copy_(torch.randn(EXPERTS) * 0.2)
    return mixture.train()


def batch(seed: int = 1) -> torch.Tensor:
    return torch.randn(3, 9, WIDTH, generator=torch.Generator().manual_seed(seed))


def move(mixture: MoE, scale: float = 0.3) -> None:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        mixture.router.weight += scale * torch.randn(mixture.router.weight.shape, generator=generator)


def chosen(mixture: MoE, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The experts of every token but the first of a window, by float64; and their scores."""
    normed = mixture.norm(x)[:, 1:].detach().double().reshape(-1, WIDTH).numpy()
    logits = normed @ mixture.router.weight.detach().double().numpy().T
    scores = np.sqrt(np.log1p(np.exp(logits))) + mixture.router.get_buffer("bias").double().numpy()
    return np.argsort(-scores, -1)[:, :TOP_K], scores


def test_staleness_on_the_same_batch(bench: Bench) -> None:
    mixture, faults, x = a_mixture(), Faults(), batch()
    observer = bench.start(ReplayObserver(look_at(mixture).routers, num_sampled_tokens=1000, faults=faults))
    observer.replay(lambda: mixture(x))
    assert not bench.read(), "the first replay has nothing to be compared with"
    then, _ = chosen(mixture, x)
    move(mixture)
    now, scores = chosen(mixture, x)
    mixture(batch(2))  # a training pass in between is none of its business
    observer.replay(lambda: mixture.eval()(x))
    found = bench.read()
    stale = np.array([1 - len(set(a) & set(b)) / TOP_K for a, b in zip(now, then, strict=True)])
    ordered = -np.sort(-scores, -1)
    margin = ordered[:, TOP_K - 1] - ordered[:, TOP_K]
    assert not faults.counts and 0 < stale.mean() < 1
    assert found["router_staleness_fixed[0]"] == pytest.approx(stale.mean(), rel=1e-5)
    assert found["router_staleness_fixed_weighted[0]"] == pytest.approx(
        (stale * margin).sum() / margin.sum(), rel=1e-3
    )


@pytest.mark.parametrize("shared_expert", [False, True])
def test_the_counterfactual_is_the_difference_of_outputs(bench: Bench, shared_expert: bool) -> None:
    mixture, faults, x = a_mixture(shared_expert=shared_expert), Faults(), batch()
    observer = bench.start(ReplayObserver(look_at(mixture).routers, num_sampled_tokens=1000, faults=faults))
    observer.replay(lambda: mixture(x))
    with torch.no_grad():
        then = mixture.router(mixture.norm(x)).indices
        move(mixture)
        now = mixture.router(mixture.norm(x)).indices
        observer.replay(lambda: mixture(x))
        # By the model's own forward pass; what the shared expert adds is in both
        added = 0.0 if mixture.shared is None else mixture.shared(mixture.norm(x))
        one, other = ((mixture(x, indices) - added)[:, 1:].double() for indices in (now, then))
    expected = ((one - other).norm(dim=-1) / one.norm(dim=-1)).mean().item()
    assert not faults.counts and expected > 0.01
    assert bench.read()["router_counterfactual[0]"] == pytest.approx(expected, rel=1e-4)


def test_asking_what_would_be_leaves_no_trace(bench: Bench) -> None:
    mixture, x = a_mixture(), batch()
    observer = bench.start(
        ReplayObserver(look_at(mixture).routers, num_sampled_tokens=1000, faults=Faults(strict=True))
    )
    observer.replay(lambda: mixture(x))
    move(mixture)
    mixture(batch(2))
    last = mixture.router.last
    point = look_at(mixture).routers[0]
    with torch.no_grad():
        point.outputs(x.reshape(-1, WIDTH), torch.zeros(27, TOP_K, dtype=torch.long))
    assert mixture.router.last is last
    assert all(parameter.grad is None for parameter in mixture.parameters())


def test_another_batch_than_the_last_time_is_not_compared_and_begins_anew(bench: Bench) -> None:
    mixture, faults, x = a_mixture(), Faults(), batch()
    observer = bench.start(ReplayObserver(look_at(mixture).routers, num_sampled_tokens=1000, faults=faults))
    observer.replay(lambda: mixture(x))
    observer.replay(lambda: mixture(x[:2]))
    assert not bench.read() and not faults.counts
    observer.replay(lambda: mixture(x[:2]))
    assert bench.read()["router_staleness_fixed[0]"] == 0.0


def test_a_replay_is_asked_for_only_when_it_is_due_and_no_reading_of_training_sees_it(bench: Bench) -> None:
    mixture, x = a_mixture(), batch()
    observer = bench.start(
        RoutingObserver(look_at(mixture).routers, num_sampled_tokens=64, faults=Faults(strict=True))
    )
    with torch.no_grad():
        mixture(x)
    assert not bench.read()
    observer.close()
    replay = bench.start(
        ReplayObserver(look_at(mixture).routers, num_sampled_tokens=64, faults=Faults(strict=True))
    )
    bench.clock.begin(7)
    replay.replay(lambda: pytest.fail("it is not due"))
    bench.clock.begin(50)
    asked: list[int] = []
    replay.replay(lambda: asked.append(1))
    assert asked == [1]


def test_what_the_forward_pass_raises_is_the_callers_and_listening_ends(bench: Bench) -> None:
    mixture = a_mixture()
    observer = bench.start(ReplayObserver(look_at(mixture).routers, num_sampled_tokens=64, faults=Faults()))
    with pytest.raises(ZeroDivisionError):
        observer.replay(lambda: 1 / 0)
    mixture(batch())
    mixture(batch())
    assert not bench.read()


def test_choices_in_force_beside_those_of_the_weights_of_now(bench: Bench) -> None:
    mixture, x = a_mixture(), batch()
    bench.start(
        RoutingObserver(look_at(mixture).routers, num_sampled_tokens=1000, faults=Faults(strict=True))
    )
    mixture(x)
    assert bench.read()["router_staleness_applied[0]"] == 0.0
    old = mixture.router(mixture.norm(x)).indices
    then, _ = chosen(mixture, x)
    move(mixture)
    now, _ = chosen(mixture, x)
    mixture(x, old)
    stale = np.mean([1 - len(set(a) & set(b)) / TOP_K for a, b in zip(now, then, strict=True)])
    assert 0 < stale < 1
    assert bench.read()["router_staleness_applied[0]"] == pytest.approx(stale, rel=1e-5)

"""The tear, on mixtures whose experts are known, against pairs that are gone through one by one."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from foreshock.probe.faults import Faults
from foreshock.probe.observers import TearObserver
from foreshock.probe.observers.tear import LEAST_PAIRS

from .conftest import Bench

WIDTH, EXPERTS, TOP_K = 5, 4, 2


class Gate(nn.Module):
    """Chooses by fixed weights."""

    is_expert_router = True

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(EXPERTS, WIDTH))
        self.register_buffer("bias", torch.zeros(EXPERTS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        affinity = x @ self.weight.T
        return affinity, affinity.topk(TOP_K, dim=-1).indices


class Mixture(nn.Module):
    """Experts that turn and shift their input by as much as `apart` says."""

    def __init__(self, apart: float, *, flat: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.flat, self.gate = flat, Gate()
        self.maps = torch.eye(WIDTH) + apart * torch.randn(EXPERTS, WIDTH, WIDTH)
        self.shifts = apart * torch.randn(EXPERTS, WIDTH)

    def forward(self, x: Tensor) -> Any:
        _, indices = self.gate(x.reshape(-1, WIDTH) if self.flat else x)
        indices = indices.view(*x.shape[:-1], TOP_K)
        out = torch.einsum("btkcd,btd->btc", self.maps[indices], x) + self.shifts[indices].sum(-2)
        return (out, indices) if self.flat else out


class Point:
    """A routing point of such a mixture."""

    def __init__(self, mixture: Mixture) -> None:
        self.module, self.block = mixture.gate, mixture

    def indices(self, args: Any, output: Any) -> Tensor:
        found: Tensor = output[1]
        return found


def a_batch(seed: int = 0) -> Tensor:
    """Windows of tokens, one of them again and again."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(4, 41, WIDTH, generator=generator)
    x[:, 3:6] = x[0, 3]  # one token, seen twelve times, is no pair
    return x


def expected(mixture: Mixture, x: Tensor) -> float:
    with torch.no_grad():
        indices = mixture.gate(x)[1]
        out = mixture(x)
    y = (out[0] if mixture.flat else out)[:, 1:].double().reshape(-1, WIDTH).numpy()
    routes = [frozenset(row) for row in indices[:, 1:].reshape(-1, TOP_K).tolist()]
    tokens = x[:, 1:].double().reshape(-1, WIDTH).numpy()
    pairs = [(a, b) for a in range(len(tokens)) for b in range(a + 1, len(tokens))]
    distances = np.array([np.linalg.norm(tokens[a] - tokens[b]) for a, b in pairs])
    distances[distances < 1e-3] = np.inf
    near = np.argsort(distances)[: round(0.01 * len(pairs))]
    jumps: dict[bool, list[float]] = {True: [], False: []}
    for place in near:
        a, b = pairs[place]
        jumps[routes[a] != routes[b]].append(math.log(np.linalg.norm(y[a] - y[b]) / distances[place]))
    assert min(map(len, jumps.values())) >= LEAST_PAIRS
    # torch's median of an even number is the lower of the two
    return float(
        np.percentile(jumps[True], 50, method="lower") - np.percentile(jumps[False], 50, method="lower")
    )


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("apart", [0.05, 0.5, 2.0])
def test_it_is_the_difference_of_median_jumps(bench: Bench, apart: float, flat: bool) -> None:
    mixture, faults, x = Mixture(apart, flat=flat).train(), Faults(), a_batch()
    bench.start(TearObserver([Point(mixture)], num_sampled_tokens=10_000, faults=faults))  # type: ignore[list-item]
    mixture(x.requires_grad_())
    assert not faults.counts
    assert bench.read()["router_tear[0]"] == pytest.approx(expected(mixture, x.detach()), rel=0.02, abs=0.02)


def test_it_grows_as_the_experts_part(bench: Bench) -> None:
    values = []
    for apart in (0.0, 0.1, 1.0):
        mixture = Mixture(apart).train()
        observer = bench.start(
            TearObserver([Point(mixture)], num_sampled_tokens=500, faults=Faults(strict=True))  # type: ignore[list-item]
        )
        mixture(a_batch())
        values.append(bench.read()["router_tear[0]"])
        observer.close()
    # Of experts that are all one, nearly: the two medians are of other pairs
    assert abs(values[0]) < 0.05 and values[0] < values[1] < values[2]


def test_too_few_pairs_of_either_kind_say_nothing(bench: Bench) -> None:
    mixture = Mixture(1.0).train()
    bench.start(TearObserver([Point(mixture)], num_sampled_tokens=500, faults=Faults(strict=True)))  # type: ignore[list-item]
    mixture(torch.zeros(2, 9, WIDTH))  # no two tokens differ
    mixture(torch.randn(1, 2, WIDTH))  # no two tokens
    assert not bench.read()


def test_a_batch_that_is_not_finite_harms_nothing(bench: Bench) -> None:
    mixture, x = Mixture(1.0).train(), a_batch()
    x[0, 3] = math.nan
    bench.start(TearObserver([Point(mixture)], num_sampled_tokens=500, faults=Faults(strict=True)))  # type: ignore[list-item]
    mixture(x)
    assert math.isfinite(bench.read()["router_tear[0]"])


def test_a_router_whose_mixture_never_answers_is_forgotten(bench: Bench) -> None:
    mixture = Mixture(1.0).train()
    observer = bench.start(TearObserver([Point(mixture)], num_sampled_tokens=500, faults=Faults(strict=True)))  # type: ignore[list-item]
    mixture.gate(a_batch())
    assert observer._routed[0] is not None
    bench.end_step()
    assert observer._routed == [None] and not bench.read()

"""The distance between domains' routing, and their losses, against counting in numpy."""

import math

import numpy as np
import pytest
import torch

from foreshock.probe.domain_losses import DomainLosses
from foreshock.probe.faults import Faults
from foreshock.probe.findings import look_at
from foreshock.probe.observers import DomainObserver
from foreshock.probe.observers.domains import MAX_DOMAINS, distance

from .conftest import Bench
from .test_routing import EXPERTS, a_router, tokens


def jensen_shannon(loads: np.ndarray) -> float:
    shares = loads / loads.sum(-1, keepdims=True)
    mean = shares.mean(0)
    divergence = np.mean(
        [sum(p * math.log(p / m) for p, m in zip(row, mean, strict=True) if p) for row in shares]
    )
    return float(divergence / math.log(len(loads)))


@pytest.mark.parametrize("flat", [False, True])
def test_it_is_the_divergence_of_the_domains_loads(bench: Bench, flat: bool) -> None:
    router, faults, x = a_router(), Faults(), tokens(1)
    observer = bench.start(DomainObserver(look_at(router).routers, faults=faults))
    observer.take(torch.tensor([0, 2, 0]), 4)
    # Of tokens without windows their number tells whose they are
    chosen = router(x.reshape(-1, 32) if flat else x).indices.reshape(3, -1)
    loads = np.stack(
        [
            np.bincount(torch.cat([chosen[0], chosen[2]]).numpy(), minlength=EXPERTS),
            np.bincount(chosen[1].numpy(), minlength=EXPERTS),
        ]
    )
    assert bench.read()["router_domain_distance[0]"] == pytest.approx(jensen_shannon(loads), rel=1e-4)
    assert not faults.counts


def test_its_ends_are_0_and_1() -> None:
    alike = torch.tensor([[3.0, 1.0, 0.0], [6.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    apart = torch.tensor([[4.0, 0.0, 0.0], [0.0, 7.0, 0.0], [0.0, 0.0, 1.0]])
    assert distance(alike)[0].item() == pytest.approx(0.0, abs=1e-6)
    assert distance(apart)[0].item() == pytest.approx(1.0, rel=1e-6)
    assert not distance(alike[:1])[1] and not distance(alike[2:])[1] and distance(alike)[1]


def test_a_batch_of_one_domain_or_of_none_that_is_named_has_no_distance(bench: Bench) -> None:
    router = a_router()
    observer = bench.start(DomainObserver(look_at(router).routers, faults=Faults(strict=True)))
    router(tokens(1))
    observer.take(torch.tensor([1, 1, 1]), 2)
    router(tokens(1))
    assert not bench.read()
    observer.take(torch.tensor([0, 1, 1]), 2)
    bench.end_step()
    router(tokens(1))
    assert not bench.read(), "the names were those of the step before"


def test_names_of_another_number_of_windows_are_told(bench: Bench) -> None:
    router, faults = a_router(), Faults()
    observer = bench.start(DomainObserver(look_at(router).routers, faults=faults))
    observer.take(torch.tensor([0, 1]), 2)
    router(tokens(1))
    assert faults.counts == {"observing domains: ValueError": 1} and not bench.read()


def test_losses_by_domain_and_what_cannot_be_a_series() -> None:
    losses = DomainLosses()
    windows = ["code", "prose/old [1]", "code", "x" * 300]
    numbers = losses.numbers(windows)
    assert numbers.tolist() == [0, 1, 0, 2] and len(losses) == 3
    found = losses.of(numbers, windows, torch.tensor([1.0, 5.0, 2.0, math.nan]))
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {
            "domain_loss/code": 1.5,
            "domain_loss/prose_old__1_": 5.0,
            f"domain_loss/{'x' * 108}": math.nan,
        },
        nan_ok=True,
    )
    with pytest.raises(ValueError, match="give one for each of the 4 windows"):
        losses.of(numbers, windows, torch.tensor(1.0))
    with pytest.raises(ValueError, match="at most 64"):
        losses.numbers([str(number) for number in range(MAX_DOMAINS + 1)])

"""Routing signals of the reference model's routers against counting and sorting in numpy."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from foreshock.probe.faults import Faults
from foreshock.probe.findings import look_at
from foreshock.probe.observers import RoutingObserver
from foreshock.probe.observers import routing as observers_routing
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.router import Router
from foreshock.reference_models.transformer import Transformer

from .conftest import Bench

SMALL: Any = {"connection": "residual", "num_streams": 1, "num_blocks": 1, "width": 32, "context": 16}
EXPERTS, TOP_K = 6, 2


def a_router(**options: Any) -> Router:
    torch.manual_seed(0)
    router = Router(ModelConfig(**SMALL, num_experts=EXPERTS, top_k=TOP_K, **options))
    router.get_buffer("bias").copy_(torch.randn(EXPERTS) * 0.2)
    return router


def tokens(seed: int) -> torch.Tensor:
    return torch.randn(3, 16, 32, generator=torch.Generator().manual_seed(seed))


def scores(router: Router, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> np.ndarray:
    logits = x.detach().double().numpy() @ weight.detach().double().numpy().T
    return np.sqrt(np.log1p(np.exp(logits))) + bias.double().numpy()


def chosen(values: np.ndarray) -> list[set[int]]:
    return [set(np.argsort(-row)[:TOP_K]) for row in values.reshape(-1, EXPERTS)]


def start(bench: Bench, router: Router, faults: Faults) -> None:
    bench.start(RoutingObserver(look_at(router).routers, num_sampled_tokens=1000, faults=faults))


def test_loads_margins_and_similarity(bench: Bench) -> None:
    router, faults, x = a_router(), Faults(), tokens(1)
    start(bench, router, faults)
    router(x)
    values = scores(router, x, router.weight, router.bias)
    load = np.bincount([expert for experts in chosen(values) for expert in experts], minlength=EXPERTS)
    share = load[load > 0] / load.sum()
    ordered = -np.sort(-values[:, 1:].reshape(-1, EXPERTS), -1)
    margin = np.sort(ordered[:, TOP_K - 1] - ordered[:, TOP_K])
    unit = router.weight.detach().double().numpy()
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    pairs = [unit[e] @ unit[f] for e in range(EXPERTS) for f in range(e)]
    found = bench.read()
    assert not faults.counts
    assert found["router_max_violation[0]"] == pytest.approx(load.max() / load.mean() - 1, rel=1e-5)
    assert found["router_entropy[0]"] == pytest.approx(
        -(share * np.log(share)).sum() / math.log(EXPERTS), rel=1e-5
    )
    assert found["router_dead_experts[0]"] == pytest.approx((load == 0).mean())
    assert found["router_margin_p01[0]"] == pytest.approx(margin[max(1, len(margin) // 100) - 1], rel=1e-3)
    assert found["router_similarity[0]"] == pytest.approx(np.mean(pairs), rel=1e-4)
    assert "router_staleness[0]" not in found


def test_staleness_compares_the_weights_of_the_last_reading_on_the_tokens_of_now(bench: Bench) -> None:
    router, faults = a_router(), Faults()
    start(bench, router, faults)
    router(tokens(1))
    bench.end_step()
    old = router.weight.detach().clone(), router.bias.clone()
    with torch.no_grad():
        router.weight += 0.05 * torch.randn(router.weight.shape, generator=torch.Generator().manual_seed(5))
        router.bias += 0.1 * torch.arange(EXPERTS)
    x = tokens(2)
    router(x)
    x = x[:, 1:]
    now, then = scores(router, x, router.weight, router.bias), scores(router, x, *old)
    stale = np.array([1 - len(a & b) / TOP_K for a, b in zip(chosen(now), chosen(then), strict=True)])
    ordered = -np.sort(-now.reshape(-1, EXPERTS), -1)
    margin = ordered[:, TOP_K - 1] - ordered[:, TOP_K]
    found = bench.read()
    assert not faults.counts and 0 < stale.mean() < 1
    assert found["router_staleness[0]"] == pytest.approx(stale.mean(), rel=1e-5)
    assert found["router_staleness_weighted[0]"] == pytest.approx(
        (stale * margin).sum() / margin.sum(), rel=1e-3
    )


def test_dead_experts_and_a_router_that_cannot_tell_them_apart(bench: Bench) -> None:
    router = a_router()
    with torch.no_grad():
        router.weight.copy_(router.weight[:1].clone())
        router.bias.copy_(torch.tensor([0.0, 9.0, 0.0, 9.0, 0.0, 0.0]))
    start(bench, router, Faults())
    router(tokens(1))
    found = bench.read()
    assert found["router_dead_experts[0]"] == pytest.approx(4 / 6)
    assert found["router_max_violation[0]"] == pytest.approx(2.0)
    assert found["router_entropy[0]"] == pytest.approx(math.log(2) / math.log(6), rel=1e-5)
    assert found["router_similarity[0]"] == pytest.approx(1.0, rel=1e-5)


def test_affinities_that_are_not_finite_are_no_choice(bench: Bench) -> None:
    router = a_router()
    start(bench, router, Faults())
    router(tokens(1))
    bench.end_step()
    with torch.no_grad():
        router.weight[0, 0] = math.nan
    router(tokens(2))
    found = bench.read()
    assert math.isnan(found["router_staleness[0]"]) and math.isnan(found["router_similarity[0]"])


def test_layers_beyond_the_bound_of_memory_have_no_staleness(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observers_routing, "MAX_KEPT_BYTES", EXPERTS * (32 + 1) * 4)
    model = torch.nn.ModuleList([a_router(), a_router()])
    bench.start(RoutingObserver(look_at(model).routers, num_sampled_tokens=64, faults=Faults()))
    for seed in (1, 2):
        for router in model:
            router(tokens(seed))
        bench.end_step()
    found = bench.read()
    assert "router_staleness[0]" in found and "router_staleness[1]" not in found


def test_a_hash_has_loads_and_neither_margin_nor_staleness(bench: Bench) -> None:
    torch.manual_seed(0)
    model = Transformer(ModelConfig(**SMALL, num_experts=EXPERTS, num_hash_layers=1), seed=0)
    faults = Faults()
    bench.start(RoutingObserver(look_at(model).routers, num_sampled_tokens=64, faults=faults))
    for _ in range(2):
        model.loss(torch.randint(0, 256, (2, 17)))
        bench.end_step()
    found = bench.read()
    assert not faults.counts and found["router_max_violation[0]"] >= 0
    assert not {"router_margin_p01[0]", "router_staleness[0]"} & set(found)

"""One hyper-connection around an identity, forward and backward, on a CPU: ours beside the public ones.

All at (tokens 4096, n 4, C 512) in float32, 20 Sinkhorn iterations, in turn within one process. Ours, plain
eager and transformers' module share their parameters, and their results are compared. Then whole training
steps of the reference model: residual, mHC with the eager reference, mHC with the operators, both with and
without recomputation.

With one thread the clock is the processor's: other work on the machine then hardly counts.
"""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from foreshock.kernels import use_backend
from foreshock.reference_models.connections import ConnectionConfig, ManifoldMixing, StreamConnection
from foreshock.reference_models.transformer import ModelConfig, Transformer

TOKENS, STREAMS, WIDTH = 4096, 4, 512
NUM_ROUNDS = 15
MODELS = {
    "default": (ModelConfig(), 4),
    "wide": (ModelConfig(num_blocks=4, width=1024, context=256), 2),
}
NUM_STEPS = 5
Layer = Callable[[Tensor], Tensor]


class DeepSeekConfig:
    """What transformers' module reads of its configuration."""

    hc_mult, hc_sinkhorn_iters, hc_eps, rms_norm_eps, hidden_size = STREAMS, 20, 1e-6, 1e-6, WIDTH


def transformers_layer(mixing: ManifoldMixing) -> Layer:
    """DeepSeek-V4's hyper-connection as in transformers, with its decoder layer's mix, on our parameters.

    It applies its matrix transposed, so its logits are ours transposed.
    """
    from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4HyperConnection

    module = DeepseekV4HyperConnection(DeepSeekConfig)
    with torch.no_grad():
        square = torch.arange(STREAMS**2).view(STREAMS, STREAMS)
        order = torch.cat((torch.arange(2 * STREAMS), 2 * STREAMS + square.T.flatten()))
        module.fn.copy_(mixing.phi.T[order])
        module.base.copy_(mixing.bias[order])
        module.scale.copy_(mixing.gates)

    def layer(x: Tensor) -> Tensor:
        post, comb, inside = module(x)
        mixed: Tensor = post.unsqueeze(-1) * inside.unsqueeze(-2) + comb.transpose(-1, -2) @ x
        return mixed

    return layer


def lucidrains_layer() -> Layer:
    """The newest module of `hyper-connections`."""
    from hyper_connections.mHCv2 import ManifoldConstrainedHyperConnections

    layer: Layer = ManifoldConstrainedHyperConnections(
        STREAMS, dim=WIDTH, branch=nn.Identity(), layer_index=0
    )
    return layer


def ours_and_eager(width: int, device: str = "cpu") -> tuple[ManifoldMixing, Layer, Layer]:
    """Our layer around an identity, the same by the reference, and the mixing that both share."""
    torch.manual_seed(0)
    mixing = ManifoldMixing(ConnectionConfig("mhc", STREAMS, width), 0).to(device)
    with torch.no_grad():
        # Far from the start, where all would be uniform.
        mixing.gates.fill_(0.5)
        mixing.bias.normal_()
    ours = StreamConnection(mixing, nn.Identity())

    def eager(x: Tensor) -> Tensor:
        with use_backend("reference"):
            out: Tensor = ours(x)
            return out

    return mixing, ours, eager


def layers() -> dict[str, Layer]:
    """Ours, plain eager, and those of the packages."""
    mixing, ours, eager = ours_and_eager(WIDTH)
    return {
        "foreshock": ours,
        "eager": eager,
        "transformers": transformers_layer(mixing),
        "hyper_connections": lucidrains_layer(),
    }


def time_layer(layer: Layer, x: Tensor, cotangent: Tensor) -> tuple[float, float]:
    """Processor seconds of one forward and one backward."""
    x = x.clone().requires_grad_()
    begun = time.process_time()
    out = layer(x)
    turned = time.process_time()
    out.backward(cotangent)
    return turned - begun, time.process_time() - turned


def largest_difference(one: Layer, other: Layer, x: Tensor, cotangent: Tensor) -> float:
    """Of outputs and gradients of x, relative to the largest entry."""
    seen = []
    for layer in (one, other):
        leaf = x.clone().requires_grad_()
        out = layer(leaf)
        seen.append((out.detach(), torch.autograd.grad(out, leaf, cotangent)[0]))
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*seen, strict=True))


def measure_layers() -> dict[str, Any]:
    """Medians of rounds in which every layer has its turn, and ratios to ours."""
    x, cotangent = torch.randn(2, 1, TOKENS, STREAMS, WIDTH, generator=torch.Generator().manual_seed(1))
    rivals = layers()
    rounds = [
        {name: time_layer(layer, x, cotangent) for name, layer in rivals.items()} for _ in range(NUM_ROUNDS)
    ]
    figures = {}
    for name in rivals:
        forward, backward = zip(*(each[name] for each in rounds[1:]), strict=True)
        both = [f + b for f, b in zip(forward, backward, strict=True)]
        figures[name] = {
            "forward_ms": 1e3 * statistics.median(forward),
            "backward_ms": 1e3 * statistics.median(backward),
            "both_ms": 1e3 * statistics.median(both),
            "best_both_ms": 1e3 * min(both),
        }
    ours = figures["foreshock"]
    others = [figure for name, figure in figures.items() if name != "foreshock"]
    return {
        "layers": figures,
        "times_faster_than_the_best": min(f["both_ms"] for f in others) / ours["both_ms"],
        "times_faster_by_best_rounds": min(f["best_both_ms"] for f in others) / ours["best_both_ms"],
        "largest_difference_to": {
            name: largest_difference(rivals["foreshock"], rivals[name], x, cotangent)
            for name in ("eager", "transformers")
        },
    }


def peak_bytes(work: Callable[[], object]) -> int:
    """The largest sum of live allocations while `work` runs, over what was live before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    events: Any = recorded.profiler.kineto_results.events()  # type: ignore[union-attr]
    live = peak = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def measure_model(config: ModelConfig, batch: int) -> dict[str, Any]:
    """Step time and peak memory of activations and gradients, beside the residual's."""
    variants = {
        "residual": (dataclasses.replace(config, connection="residual", num_streams=1), "cpu"),
        "mhc_naive": (config, "reference"),
        "mhc_naive_recomputed": (dataclasses.replace(config, recompute=True), "reference"),
        "mhc_fused": (config, "cpu"),
        "mhc_fused_recomputed": (dataclasses.replace(config, recompute=True), "cpu"),
    }
    models = {name: Transformer(variant) for name, (variant, _) in variants.items()}
    window = torch.randint(0, 256, (batch, config.context + 1), generator=torch.Generator().manual_seed(0))

    def step(name: str) -> None:
        with use_backend(variants[name][1]):  # type: ignore[arg-type]
            models[name].zero_grad(set_to_none=True)
            models[name].loss(window).backward()

    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(NUM_STEPS + 1):
        for name in models:
            begun = time.process_time()
            step(name)
            seconds[name].append(time.process_time() - begun)
    figures: dict[str, Any] = {}
    for name in models:
        models[name].zero_grad(set_to_none=True)
        figures[name] = {
            "step_ms": 1e3 * statistics.median(seconds[name][1:]),
            "peak_mb": peak_bytes(lambda name=name: step(name)) / 1e6,  # type: ignore[misc]
        }
    base = figures["residual"]
    for figure in figures.values():
        figure["step_over_residual"] = figure["step_ms"] / base["step_ms"]
        figure["peak_over_residual"] = figure["peak_mb"] / base["peak_mb"]
    shape = {"blocks": config.num_blocks, "width": config.width, "context": config.context, "batch": batch}
    return {"model": shape, "variants": figures}


def measure() -> dict[str, Any]:
    """The layers and the models, on one thread; the machine's load is told."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    shape = {"tokens": TOKENS, "streams": STREAMS, "width": WIDTH, "dtype": "float32"}
    result = {
        "shape": shape,
        "threads": 1,
        "load_average": os.getloadavg()[0],
        "layers": measure_layers(),
        "models": {name: measure_model(*model) for name, model in MODELS.items()},
    }
    torch.set_num_threads(threads)
    return result

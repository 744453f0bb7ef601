"""On a GPU: the kernels beside public ones and the memory's own speed, whole steps, and what the probe adds.

On request (`python -m tests.benchmarks on_gpu`), where there is a CUDA device. Kernels are timed by events
over many launches with the cache cleared between them; `share_of_copy` is what a layer's least bytes would
take at the speed of a copy on the same device, over what it took. Steps are timed in blocks of ten, with one
wait for the device at a block's end, watched and unwatched in turn: a wait at every step would hide what a
probe costs, or cost it more than it does.
"""

import dataclasses
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from tests.benchmarks.hyper_connection import ours_and_eager
from torch import Tensor, nn

from foreshock.kernels import gain, hyper_connection, sinkhorn, use_backend
from foreshock.probe import Probe, attach
from foreshock.reference_models.connections import ConnectionConfig, ManifoldMixing
from foreshock.reference_models.train import TrainConfig, build_optimizer
from foreshock.reference_models.transformer import ModelConfig, Transformer

STREAMS, WIDTH = 4, 2560
TOKENS = 16384
SINKHORN_TOKENS = 1 << 20
BLOCK_STEPS = 10
# The model, its batch, and how many blocks are timed
MODELS = {
    "default": (ModelConfig(), 8, 8),
    "wide": (ModelConfig(width=1024, context=1024, precision="bf16"), 8, 4),
}
Layer = Callable[[Tensor], Tensor]


def milliseconds(work: Callable[[], object]) -> float:
    """The median over calls, the cache cleared before each; the host's part counts where it is longer."""
    from triton.testing import do_bench

    return float(do_bench(work, warmup=50, rep=200, return_mode="median"))


def device_milliseconds(work: Callable[[], object]) -> float:
    """The same by a CUDA graph: what the device takes when nobody has to launch."""
    from triton.testing import do_bench_cudagraph

    return float(do_bench_cudagraph(work, rep=50, return_mode="median"))


def refused(work: Callable[[], Any]) -> Any:
    """What `work` gives, or why it gives nothing: a rival that does not run is told, not left out."""
    try:
        return work()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"


def copy_bytes_a_second() -> float:
    """Bytes read and written of a large copy on the device."""
    source = torch.randn(1 << 28, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / (1e-3 * milliseconds(lambda: target.copy_(source)))


def forward_and_backward(layer: Layer, x: Tensor) -> dict[str, Any]:
    """Milliseconds of both, and of the forward pass alone, without history."""
    leaf = x.clone().requires_grad_()
    cotangent = torch.randn_like(layer(leaf))

    def both() -> None:
        leaf.grad = None
        layer(leaf).backward(cotangent)

    def forward() -> None:
        with torch.no_grad():
            layer(x)

    found = {"forward_ms": milliseconds(forward), "both_ms": milliseconds(both)}
    # The backward pass runs in a thread of its own, where a graph is recorded only of what torch knows to
    # record: a rival that waits for the device has none
    found["both_device_ms"] = refused(lambda: device_milliseconds(both))
    return found


def measure_sinkhorn(copy_speed: float) -> dict[str, Any]:
    """A million 4 x 4 matrices, 20 iterations."""
    logits = 3 * torch.randn(SINKHORN_TOKENS, STREAMS, STREAMS, device="cuda")

    def reference(x: Tensor) -> Tensor:
        with use_backend("reference"):
            return sinkhorn(x)

    def rival(x: Tensor) -> Tensor:
        from hyper_connections.triton_sinkhorn import triton_sinkhorn

        found: Tensor = triton_sinkhorn(x, iters=20)
        return found

    layers: dict[str, Layer] = {
        "foreshock": sinkhorn,
        "foreshock_with_statistics": lambda x: sinkhorn(x, return_statistics=True)[0],
        "eager": reference,
        "compiled": torch.compile(reference),
        "hyper_connections": rival,
    }
    figures = {
        name: refused(lambda c=layer: forward_and_backward(c, logits)) for name, layer in layers.items()
    }  # type: ignore[misc]
    least = 128 * SINKHORN_TOKENS / copy_speed * 1e3
    return {
        "matrices": SINKHORN_TOKENS,
        "ms": figures,
        "forward_share_of_copy": least / figures["foreshock"]["forward_ms"],
    }


def layer_rivals(dtype: torch.dtype) -> dict[str, Layer]:
    """One mHC layer around an identity: ours, eager, compiled, liger-kernel's, hyper-connections'."""
    _, ours, eager = ours_and_eager(WIDTH, "cuda")

    def liger() -> Layer:
        from liger_kernel.transformers.mhc import LigerMHC

        found: Layer = LigerMHC(
            nn.Identity(), hc=STREAMS, c=WIDTH, phi_dtype=dtype, allow_fp32=dtype == torch.float32
        ).cuda()
        return found

    def lucidrains() -> Layer:
        from hyper_connections.mHCv2 import ManifoldConstrainedHyperConnections

        module = ManifoldConstrainedHyperConnections(
            STREAMS, dim=WIDTH, branch=nn.Identity(), layer_index=0, use_triton_sinkhorn=True
        )
        found: Layer = module.cuda().to(dtype)
        return found

    rivals: dict[str, Layer] = {"foreshock": ours, "eager": eager, "compiled": torch.compile(eager)}
    for name, make in (("liger_kernel", liger), ("hyper_connections", lucidrains)):
        made = refused(make)
        rivals[name] = made if callable(made) else _failing(made)
    return rivals


def _failing(reason: str) -> Layer:
    def layer(x: Tensor) -> Tensor:
        raise RuntimeError(reason)

    return layer


def measure_layer(dtype: torch.dtype, copy_speed: float) -> dict[str, Any]:
    """One layer at 16,384 tokens, four streams, width 2,560."""
    shape = (4, TOKENS // 4, STREAMS, WIDTH)
    x = torch.randn(shape, device="cuda").to(dtype)
    figures = {
        name: refused(lambda c=layer: forward_and_backward(c, x))  # type: ignore[misc]
        for name, layer in layer_rivals(dtype).items()
    }
    # Forward: project, aggregate and mix each read the streams; mix writes them, aggregate and mix pass y
    streams = x.nbytes
    least = (4 * streams + 3 * streams / STREAMS) / copy_speed * 1e3
    return {
        "tokens": TOKENS,
        "streams": STREAMS,
        "width": WIDTH,
        "ms": figures,
        "forward_share_of_copy": least / figures["foreshock"]["forward_ms"],
    }


def measure_steps_of_layer(dtype: torch.dtype) -> dict[str, Any]:
    """The three steps of a layer alone."""
    shape = (4, TOKENS // 4, STREAMS, WIDTH)
    x = torch.randn(shape, device="cuda").to(dtype)
    y = torch.randn(*shape[:2], WIDTH, device="cuda").to(dtype)
    mixing = ManifoldMixing(ConnectionConfig("mhc", STREAMS, WIDTH), 0).cuda()
    with torch.no_grad():
        h = mixing(x)
    return {
        "coefficients": forward_and_backward(lambda x: torch.cat([c.flatten() for c in mixing(x)]), x),
        "aggregate": forward_and_backward(lambda x: hyper_connection.aggregate(x, h.h_pre), x),
        "mix": forward_and_backward(lambda x: hyper_connection.mix(x, y, h.h_res, h.h_post), x),
    }


def measure_gain() -> dict[str, Any]:
    """Composites over 96 layers of 256 and 8,192 tokens, every reduction."""
    figures = {}
    for num_tokens in (256, 8192):
        H_LTnn = torch.randn(96, num_tokens, STREAMS, STREAMS, device="cuda").softmax(-1)

        def reference(H_LTnn: Tensor = H_LTnn) -> object:
            with use_backend("reference"):
                return gain(H_LTnn)

        figures[num_tokens] = {
            "foreshock_ms": milliseconds(lambda H=H_LTnn: gain(H)),  # type: ignore[misc]
            "eager_ms": refused(lambda work=reference: milliseconds(work)),  # type: ignore[misc]
        }
    return {"layers": 96, "by_tokens": figures}


class Contestant:
    """A model that trains on batches which lie on the device, watched or not."""

    def __init__(self, model: ModelConfig, batch: int, backend: str = "triton") -> None:
        self.backend: Any = backend
        self.model = Transformer(model, seed=0).cuda()
        self.optimizer = build_optimizer(self.model, TrainConfig(model=model))
        generator = torch.Generator().manual_seed(0)
        shape = (16, batch, model.context + 1)
        self.windows = torch.randint(0, 256, shape, generator=generator).cuda()
        self.probe: Probe | None = None
        self._count = 0

    def block(self, num_steps: int = BLOCK_STEPS) -> float:
        """Seconds of so many steps, with one wait for the device at their end."""
        torch.cuda.synchronize()
        begun = time.perf_counter()
        with use_backend(self.backend):
            for _ in range(num_steps):
                self._step()
        torch.cuda.synchronize()
        return time.perf_counter() - begun

    def _step(self) -> None:
        window_BS = self.windows[self._count % len(self.windows)]
        self._count += 1
        loss = self.model.loss(window_BS)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        if self.probe is not None:
            self.probe.step(loss)


def measure_variants(config: ModelConfig, batch: int, num_blocks: int) -> dict[str, Any]:
    """Step time and peak memory of residual and mHC, naive and fused, with and without recomputation."""
    variants = {
        "residual": (dataclasses.replace(config, connection="residual", num_streams=1), "triton"),
        "mhc_naive": (config, "reference"),
        "mhc_fused": (config, "triton"),
        "mhc_fused_recomputed": (dataclasses.replace(config, recompute=True), "triton"),
    }
    figures: dict[str, dict[str, float]] = {}
    for name, (variant, backend) in variants.items():
        contestant = Contestant(variant, batch, backend)
        contestant.block(4)
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        seconds = [contestant.block(4) for _ in range(num_blocks)]
        figures[name] = {
            "step_ms": 1e3 * statistics.median(seconds) / 4,
            "peak_mb": (torch.cuda.max_memory_allocated() - held) / 1e6,
        }
        del contestant
        torch.cuda.empty_cache()
    for figure in figures.values():
        figure["step_over_residual"] = figure["step_ms"] / figures["residual"]["step_ms"]
        figure["peak_over_residual"] = figure["peak_mb"] / figures["residual"]["peak_mb"]
    return figures


def measure_probe(
    config: ModelConfig, batch: int, num_blocks: int, *, num_warm: int = 2, **options: Any
) -> dict[str, Any]:
    """What a probe adds to a block of ten steps, in percent: total and median, after so many blocks."""
    watched, plain = Contestant(config, batch), Contestant(config, batch)
    with tempfile.TemporaryDirectory() as folder:
        torch.cuda.synchronize()
        held = torch.cuda.memory_allocated()
        watched.probe = attach(watched.model, watched.optimizer, mode="offline", directory=folder, **options)
        attached = torch.cuda.memory_allocated() - held
        watched.block(num_warm * BLOCK_STEPS)
        plain.block()
        clock, before = watched.probe._instruments.clock, watched._count
        own = -_own_seconds(clock)
        pairs = []
        for number in range(num_blocks):
            first, second = (watched, plain) if number % 2 else (plain, watched)
            seconds = {first: first.block(), second: second.block()}
            pairs.append((seconds[watched], seconds[plain]))
        own += _own_seconds(clock)
        steps = watched._count - before
        cadences, dropped = dict(clock.every), watched.probe.num_dropped_frames
        watched.probe.finish()
    total = sum(p for _, p in pairs)
    return {
        "plain_step_ms": 1e3 * total / num_blocks / BLOCK_STEPS,
        "total_overhead_percent": 100 * (sum(w for w, _ in pairs) / total - 1),
        "median_overhead_percent": 100 * (statistics.median(w / p for w, p in pairs) - 1),
        "own_host_ms_a_step": 1e3 * own / steps,
        "held_mib_after_attach": attached / 2**20,
        "cadences": cadences,
        "dropped_frames": dropped,
    }


def _own_seconds(clock: Any) -> float:
    return float(sum(seconds for account, seconds in clock.spent.items() if account != "rare"))


def measure_twins(config: ModelConfig, batch: int, num_blocks: int) -> dict[str, float]:
    """Two unwatched models against each other: what of the figures above is noise."""
    one, other = Contestant(config, batch), Contestant(config, batch)
    for contestant in (one, other):
        contestant.block()
    pairs = [(one.block(), other.block()) for _ in range(num_blocks)]
    return {
        "total_percent": 100 * (sum(a for a, _ in pairs) / sum(b for _, b in pairs) - 1),
        "median_percent": 100 * (statistics.median(a / b for a, b in pairs) - 1),
    }


def measure() -> dict[str, Any]:
    """All of it; some five minutes, most of them torch.compile's."""
    if not torch.cuda.is_available():
        raise SystemExit("on_gpu needs a CUDA device; there is none here")
    warnings.filterwarnings("ignore")
    copy_speed = copy_bytes_a_second()
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "copy_gigabytes_a_second": copy_speed / 1e9,
        "sinkhorn": measure_sinkhorn(copy_speed),
        "layer": {
            str(dtype).removeprefix("torch."): measure_layer(dtype, copy_speed)
            for dtype in (torch.bfloat16, torch.float32)
        },
        "steps_of_a_layer_bfloat16": measure_steps_of_layer(torch.bfloat16),
        "gain": measure_gain(),
        "models": {name: refused(lambda m=model: measure_variants(*m)) for name, model in MODELS.items()},  # type: ignore[misc]
        "probe": {},
    }
    for name, model in MODELS.items():
        result["probe"][name] = {
            "no_budget": refused(lambda m=model: measure_probe(*m, budget=None)),  # type: ignore[misc]
            "deep": refused(lambda m=model: measure_probe(*m, deep=True)),  # type: ignore[misc]
        }
    default = MODELS["default"]
    # The budget decides after two windows of fifty steps, and again after each more
    result["probe"]["default"]["within_the_budget"] = refused(lambda: measure_probe(*default, num_warm=21))
    result["probe"]["default"]["twins"] = refused(lambda: measure_twins(*default))
    return result

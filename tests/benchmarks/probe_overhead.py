"""What an attached probe adds to a training step of the reference mHC model.

Two equal models train in one process on the same batches, one watched, one not, in alternating
order; each pair of steps gives a ratio. The total tells what a median would hide: work that is done
once in ten steps.
"""

import statistics
import tempfile
import time
from typing import Any

import torch

from foreshock.probe import Probe, attach
from foreshock.reference_models.corpus import Batches, load_domains
from foreshock.reference_models.train import TrainConfig, build_optimizer
from foreshock.reference_models.transformer import ModelConfig, Transformer

WARMUP_STEPS = 4


class Contestant:
    """One model with its optimizer, watched or not."""

    def __init__(self, config: TrainConfig) -> None:
        self.model = Transformer(config.model, seed=0)
        self.optimizer = build_optimizer(self.model, config)
        self.probe: Probe | None = None

    def step(self, window_BS: torch.Tensor) -> float:
        begun = time.perf_counter()
        loss = self.model.loss(window_BS)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        if self.probe is not None:
            self.probe.step(loss)
        return time.perf_counter() - begun


def measure_model(model: ModelConfig, *, num_steps: int, composite_every: int) -> dict[str, Any]:
    """Ratios of step times, watched over unwatched."""
    config = TrainConfig(model=model)
    batches = Batches(load_domains(()), batch_size=8, context=model.context, seed=0)
    watched, plain = Contestant(config), Contestant(config)
    with tempfile.TemporaryDirectory() as folder:
        watched.probe = attach(
            watched.model,
            watched.optimizer,
            mode="offline",
            directory=folder,
            composite_every=composite_every,
        )
        pairs: list[tuple[float, float]] = []
        for step in range(num_steps + WARMUP_STEPS):
            window_BS = batches.draw()
            first, second = (watched, plain) if step % 2 else (plain, watched)
            seconds = {first: first.step(window_BS), second: second.step(window_BS)}
            pairs.append((seconds[watched], seconds[plain]))
        watched.probe.finish()
    pairs = pairs[WARMUP_STEPS:]
    return {
        "blocks": model.num_blocks,
        "width": model.width,
        "context": model.context,
        "composite_every": composite_every,
        "steps": num_steps,
        "plain_step_ms": 1e3 * statistics.median(plain for _, plain in pairs),
        "total_overhead_percent": 100 * (sum(w for w, _ in pairs) / sum(p for _, p in pairs) - 1),
        "median_overhead_percent": 100 * (statistics.median(w / p for w, p in pairs) - 1),
    }


def measure() -> dict[str, Any]:
    """The reference model at its default size, and the demo's small one at both cadences."""
    # One thread: on a shared machine two wait for each other, and the ratio measures the waiting
    torch.set_num_threads(1)
    default = ModelConfig(connection="mhc")
    small = ModelConfig(connection="mhc", num_blocks=6, width=64, context=64)
    return {
        "threads": 1,
        "default_size": measure_model(default, num_steps=20, composite_every=10),
        "demo_size": measure_model(small, num_steps=100, composite_every=10),
        "demo_size_composites_every_step": measure_model(small, num_steps=100, composite_every=1),
    }

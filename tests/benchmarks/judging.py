"""What judging costs: microseconds of processor time a step, and bytes of state, by kind of run.

All of it together: the fast layer at every step, the rules, and the forecast. The aim is 10 microseconds a
step for 256 series, and a state of at most 16 KiB.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from scipy.signal import lfilter
from tests.server.judging.conftest import Trace, hc_dying, hc_flat, mhc, residual

from foreshock.server.detection.block import Block, block_of
from foreshock.server.detection.case import SLICE, Case
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.fast.layer import FastLayer

NUM_TRIES: Final = 5
# Steps that come at once: a backlog or a replay, and what a second of a fast run brings
CUTS: Final = (1024, 16)
NUM_SERIES: Final = 256


def wide(num_steps: int, is_heavy: bool) -> Block:
    """A run of 256 series at rest: gains as steady as mHC's, the rest as noisy as training is.

    is_heavy: whether noise, the loss's aside, has heavy tails (t with 3 degrees) and remembers itself.
    """
    rng = np.random.default_rng(7)
    per_layer = ("layer_amax_forward_mean", "layer_amax_backward_mean", "stream_rms", "stream_max")
    names = [f"{series}[{layer}]" for series in per_layer for layer in range(63)]
    names += ["grad_norm", "clip_coefficient", "canary_embedding_rms", "loss"]
    assert len(names) == NUM_SERIES
    shape = (num_steps, NUM_SERIES)
    noise = rng.standard_t(3, shape) if is_heavy else rng.standard_normal(shape)
    if is_heavy:
        noise = 0.6 * lfilter([1.0], [1.0, -0.8], noise, axis=0)
    series = {
        name: np.exp((0.004 if name.startswith("layer") else 0.03) * noise[:, place])
        for place, name in enumerate(names)
    }
    series["clip_coefficient"] = np.minimum(series["clip_coefficient"], 1.0)
    series["loss"] = 2.5 + 0.03 * rng.standard_normal(num_steps)
    return block_of(series)


RUNS: Final[dict[str, tuple[Callable[[], Trace | Block], int, str]]] = {
    "healthy mHC, 16 layers": (lambda: mhc(num_steps=3000, num_layers=16, composite_every=1), 3000, "mhc"),
    "256 series, healthy": (lambda: wide(5000, is_heavy=False), 5000, "mhc"),
    "256 series, heavy tails": (lambda: wide(5000, is_heavy=True), 5000, "mhc"),
    "HC, high and flat": (lambda: hc_flat(num_steps=1500, num_layers=16), 1500, "hc"),
    "HC that dies, 200 steps": (hc_dying, 200, "hc"),
    "HC that dies, 1500 steps": (hc_dying, 1500, "hc"),
    "loss alone": (lambda: residual(num_steps=5000), 5000, "residual"),
}


def measure() -> dict[str, Any]:
    """Judges each run, in blocks of several lengths, and keeps the best of a few tries."""
    return {
        name: _judged(_as_sent(make()), RunContext(total_steps, config={"connection": connection}))
        for name, (make, total_steps, connection) in RUNS.items()
    }


def _judged(block: Block, context: RunContext) -> dict[str, Any]:
    told: dict[str, Any] = {"steps": len(block), "columns": len(block.columns.names)}
    for cut in CUTS:
        seconds = []
        for _ in range(NUM_TRIES):
            case = Case(0, context)
            started = time.process_time()
            for start in range(0, len(block), cut):
                part = block.part(start, start + cut)
                case.advance(part, int(part.steps[-1]))
            seconds.append(time.process_time() - started)
        told[f"us_a_step_by_{cut}"] = round(1e6 * min(seconds) / len(block), 1)
    seconds = []
    for _ in range(NUM_TRIES):
        layer = FastLayer(context)
        started = time.process_time()
        for start in range(0, len(block), SLICE):
            layer.advance(block.part(start, start + SLICE))
        seconds.append(time.process_time() - started)
    told["fast_layer_us_a_step"] = round(1e6 * min(seconds) / len(block), 1)
    return told | {"state_bytes": len(case.detector.state()), "stored_bytes": len(case.pack())}


def _as_sent(made: Trace | Block) -> Block:
    """The block as it comes from a probe, whose values are float32."""
    block = made.block() if isinstance(made, Trace) else made
    return replace(block, values=block.values.astype(np.float32).astype(np.float64))

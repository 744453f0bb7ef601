"""Runs without training: the signals that a healthy run, a failing run and a dead one would send."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LAYERS = 12
COMPOSITE_EVERY = 5

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Signals:
    """Columns of every step and columns of every fifth, each [steps]."""

    each_step: dict[str, Array]
    composite: dict[str, Array]


def signals(
    seed: int, total: int, *, slope: float, dies_at: int | None = None, layers: bool = True
) -> Signals:
    """A run whose gains grow by `slope` a step, layer 0 first; from `dies_at` on nothing is finite.

    Without `layers` the model has no mixing: what a plain transformer sends.
    """
    random = np.random.default_rng(seed)
    steps = np.arange(total)
    gains, backward = _gains(random, steps, slope)
    prefix, suffix = np.cumprod(gains, axis=0), np.cumprod(backward[::-1], axis=0)[::-1]
    norm = 1.1 + 0.4 * np.abs(random.standard_normal(total)) + 0.02 * prefix[-1].clip(max=500)
    each_step = {
        "loss": 5.5 * np.exp(-steps / 90) + 1.9 + 0.03 * random.standard_normal(total),
        "learning_rate": 3e-3 * np.minimum(1, (steps + 1) / 40),
        "grad_norm": norm,
        "grad_norm_clipped": np.minimum(1, norm),
        "clip_coefficient": np.minimum(1, 1 / norm),
        "step_seconds": 0.3 + 0.02 * random.standard_exponential(total),
        "canary_embedding_rms": 1 + 0.002 * steps + 0.01 * random.standard_normal(total),
        "headroom_bits": 12 - np.log2(prefix.max(axis=0)),
        **_columns("layer_amax_forward_mean", gains),
        **_columns("layer_amax_forward_max", 1 + (gains - 1) * 1.6),
        **_columns("layer_amax_backward_mean", backward),
        **_columns("stream_rms", np.sqrt(1 + np.arange(LAYERS))[:, None] * prefix**0.5),
        **_columns("stream_max", 9 * np.sqrt(1 + np.arange(LAYERS))[:, None] * prefix),
    }
    composite = {
        **_columns("composite_amax_forward_mean", prefix),
        **_columns("composite_amax_forward_max", 1.35 * prefix),
        **_columns("composite_amax_backward_mean", suffix),
        **_columns("composite_amax_backward_max", 1.3 * suffix),
    }
    if not layers:
        each_step = {name: values for name, values in each_step.items() if not name.startswith("layer_")}
        composite = {}
    for columns in (each_step, composite):
        for name, values in columns.items():
            if dies_at is not None and name not in ("learning_rate", "step_seconds"):
                values[dies_at:] = np.nan
    return Signals(each_step, composite)


def _gains(random: np.random.Generator, steps: Array, slope: float) -> tuple[Array, Array]:
    layers = np.arange(LAYERS)[:, None]
    lead = np.clip(steps[None, :] - 25 - 6 * layers, 0, None)
    wobble = 0.004 * random.standard_normal((LAYERS, len(steps)))
    gains = np.exp(slope * lead * (1 + 2.0 * (layers == 0)) + wobble)
    backward = np.exp(0.8 * np.log(gains) + 0.003 * random.standard_normal(gains.shape))
    return gains, backward


def _columns(series: str, matrix: Array) -> dict[str, Array]:
    return {f"{series}[{layer}]": row.copy() for layer, row in enumerate(matrix)}

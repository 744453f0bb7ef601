"""A run in memory that tells every signal of the catalogue, with a fault that grows from step 900 on."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock.dashboards.recording import Recording
from foreshock.wire import CATALOGUE, Signal
from foreshock.wire.readings import AlertMark, Clock

Array = NDArray[np.float64]

STRIDES = {"step": 1, "composite": 5, "slow": 10, "rare": 50, "host": 20}
HOSTILE = "<b>rule</b>\N{RIGHT-TO-LEFT OVERRIDE}"
# Signals that move about another value than 1, and what the fault does to them
LEVELS: dict[str, tuple[float, float]] = {
    "loss": (2.0, 1.1),
    "learning_rate": (3e-3, 1.0),
    "update_rms": (2e-5, 4.0),
    "update_ratio": (1e-3, 4.0),
    "layer_row_error": (1e-6, 4.0),
    "layer_column_error": (0.02, 8.0),
    "composite_row_error": (1e-5, 4.0),
    "composite_column_error": (0.08, 9.0),
    "layer_negativity": (0.0, 1.0),
    "negative_sums": (0.0, 1.0),
    "logit_range": (9.0, 3.9),
    "router_max_violation": (0.6, 5.0),
    "router_entropy": (0.97, 0.6),
    "router_dead_experts": (0.02, 9.0),
    "router_margin_p01": (0.004, 0.2),
    "router_staleness": (0.05, 7.0),
    "router_similarity": (0.1, 3.0),
    "swiglu_saturation": (0.002, 30.0),
    "swiglu_headroom": (1.6, 0.1),
    "headroom_bits": (11.0, 0.3),
    "max_attention_logit": (14.0, 60.0),
    "log_z": (8.0, 2.0),
    "log_stream_collapse": (-2.0, 3.0),
    "process_memory_bytes": (9e9, 1.0),
    "gpu_memory_bytes": (6.2e10, 1.0),
    "gpu_utilisation_percent": (91.0, 0.9),
    "host_cpu_percent": (23.0, 1.0),
    "host_memory_percent": (41.0, 1.1),
    "gpu_temperature": (63.0, 1.1),
    "gpu_power_watts": (610.0, 0.9),
    "step_seconds": (0.31, 1.1),
    "probe_seconds": (0.004, 1.0),
    "step_skipped": (0.0, 1.0),
    "clipped_share": (0.04, 15.0),
    "clip_coefficient": (0.95, 0.3),
    "update_cosine": (0.4, 0.5),
    "trust_ratio": (0.9, 0.2),
    "muon_orthogonality": (0.2, 2.0),
    "router_staleness_applied": (0.12, 3.0),
    "router_staleness_weighted": (0.01, 9.0),
    "router_staleness_fixed": (0.07, 6.0),
    "router_staleness_fixed_weighted": (0.02, 7.0),
    "router_counterfactual": (0.05, 8.0),
    "router_domain_distance": (0.1, 4.0),
    "pre_cancellation": (0.8, 0.1),
    "post_cancellation": (0.9, 0.2),
    "composite_smallest_sum": (0.9, 0.1),
    "identity_distance": (0.4, 0.2),
}


def every_signal(num_steps: int = 2000, num_layers: int = 16, seed: int = 0) -> Recording:
    """The run: `num_steps` steps of `num_layers` layers, with alerts, a clock and a risk."""
    columns = every_column(num_steps, num_layers, seed)
    steps = np.arange(num_steps)
    return Recording(columns, _alerts(num_steps), clock=_clock(steps), risk=_risk(steps))


def every_column(num_steps: int, num_layers: int, seed: int = 0) -> dict[str, tuple[Array, Array]]:
    """What the run measures: by column its steps and values, both [k]."""
    random = np.random.default_rng(seed)
    columns: dict[str, tuple[Array, Array]] = {}
    for signal in CATALOGUE.values():
        steps = np.arange(0, num_steps, STRIDES[signal.cadence])
        for series in signal.series:
            if not signal.per_layer:
                columns[series] = (steps, _values(random, signal, steps / num_steps, 0.0))
                continue
            count = 4 if signal.name == "log_singular_value" else num_layers
            for layer in range(count):
                depth = layer / num_layers
                columns[f"{series}[{layer}]"] = (steps, _values(random, signal, steps / num_steps, depth))
    steps = np.arange(num_steps)
    for number, domain in enumerate(("code", "prose", "mathematics", "captions")):
        columns[f"domain_loss/{domain}"] = (steps, columns["loss"][1] * (0.8 + 0.15 * number))
    columns["tokens"] = (steps, 4096.0 * 512 * (steps + 1.0))
    return columns


def _values(random: np.random.Generator, signal: Signal, share: Array, depth: float) -> Array:
    level, growth = LEVELS.get(signal.name, (1.0, 4.0))
    fault = np.clip(share - 0.45 - 0.2 * depth, 0, None) / 0.55
    values = level * np.exp(np.log(growth) * fault) * (1 + 0.03 * random.standard_normal(len(share)))
    if signal.name == "loss":
        return np.asarray(values + 4 * np.exp(-share * 22))
    if signal.healthy is not None and signal.healthy.low < 0 < signal.healthy.high and level == 1.0:
        return np.asarray(
            signal.healthy.high * (2.5 * fault - 0.1 + 0.1 * random.standard_normal(len(share)))
        )
    return np.asarray(values)


def _alerts(num_steps: int) -> list[AlertMark]:
    at = [int(share * num_steps) for share in (0.2, 0.27, 0.5, 0.56, 0.62)]
    return [
        AlertMark("router_collapse", "warning", "resolved", "router", at[0], at[0], at[1], "It drifts."),
        AlertMark("exit_amax", "critical", "firing", "amax", at[2], at[3], None, f"Amax is 12.4 {HOSTILE}."),
        AlertMark("time_bomb", "critical", "firing", "amax", at[3], at[4], None, "Amax rises, loss falls."),
    ]


def _clock(steps: NDArray[np.int64]) -> Clock:
    seconds = 1.7e9 + 0.31 * steps + np.where(steps > len(steps) // 3, 600.0, 0.0)
    return Clock(1.7e9, steps, seconds)


def _risk(steps: NDArray[np.int64]) -> tuple[NDArray[np.int64], dict[str, Any]]:
    share = steps / len(steps)
    horizons: dict[str, Any] = {
        name: 1 / (1 + np.exp(-(share - middle) * 24))
        for name, middle in (("20", 0.9), ("100", 0.8), ("5%", 0.76), ("10%", 0.7))
    }
    return steps[::8], {name: values[::8] for name, values in horizons.items()}

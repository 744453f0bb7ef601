"""What to keep watching after every change: fields, cadence, thresholds, from the catalogue and the rules."""

from dataclasses import dataclass
from typing import Final

from foreshock.reference_models.train_config import TrainConfig
from foreshock.wire import CATALOGUE, Signal

_CADENCE: Final = {"step": "every step", "composite": "every 10 steps; every step in runs of at most 2,000"}
# What the collector's rules, as they ship, make of a signal
_THRESHOLDS: Final = {
    "loss": "loss_spike: z >= 7 and 3 % over its line; nonfinite: NaN or infinite",
    "grad_norm": "nonfinite: NaN or infinite",
    "clip_coefficient": "exit_stability_tax: falls, or clips ever more steps, while the loss stands still",
    "layer_amax_forward": "exit_amax: layer 0 over 10, rising for 5 % of the run; canary_spread: over 1.1",
    "layer_amax_backward": "exit_amax: layer 0 over 10, rising for 5 % of the run; canary_spread: over 1.1",
    "composite_amax_forward": "exit_amax: over 10, rising for 5 % of the run; time_bomb: over 2 and rising",
    "composite_amax_backward": "exit_amax: over 10, rising for 5 % of the run; time_bomb: over 2 and rising",
    "composite_smallest_sum": "vanishing: under 0.1",
    "stream_rms": "vanishing: last layer's over the first's under 0.1",
    "stream_max": "headroom_running_out: its trend reaches the end of the dtype",
    "headroom_bits": "headroom_running_out: overflow within 300 steps; critical within 20",
    "canary_gain": "canary_spread: over 1.1, and a quarter of the layers follow",
}
_CONSTRAINED: Final = {
    "layer_row_error": "constraint_broken: 1e-4 on the exact axis, 0.15 on the other",
    "layer_column_error": "constraint_broken: 1e-4 on the exact axis, 0.15 on the other",
    "layer_norm_two": "constraint_broken: over 1.05",
    "layer_negativity": "constraint_broken: over 0",
}
_MIXING: Final = ("layer_", "composite_", "canary_gain")


@dataclass(frozen=True, slots=True)
class Watched:
    """One line of the regression list."""

    fields: str
    cadence: str
    healthy: str
    threshold: str


def watched(config: TrainConfig) -> list[Watched]:
    """The list for a configuration: mixing signals where streams mix, the constraint's where there is one."""
    names = {one.name for one in config.model.connections}
    thresholds = dict(_THRESHOLDS)
    if any(name.startswith("mhc") for name in names):
        thresholds |= _CONSTRAINED
    if config.model.num_streams == 1:
        thresholds = {name: rule for name, rule in thresholds.items() if not name.startswith(_MIXING)}
    return [_line(CATALOGUE[name], rule) for name, rule in thresholds.items()]


def _line(signal: Signal, threshold: str) -> Watched:
    band = signal.healthy
    healthy = "-" if band is None else f"{band.low:g} to {band.high:g} {signal.unit}"
    return Watched(", ".join(signal.series), _CADENCE[signal.cadence], healthy, threshold)

"""Gauges of what live runs sent last. Layers become their worst or their percentiles, never labels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from prometheus_client.core import GaugeMetricFamily, Metric

LABELS: Final = ("run_id", "run", "project")
PERCENTILES: Final = (50, 90, 99)

# By series: the gauge and what it says. Prometheus knows bytes and no bits, and a doubling is what is meant.
_PLAIN: Final = {
    "loss": ("foreshock_loss", "Training loss of the newest step."),
    "grad_norm": ("foreshock_grad_norm", "Gradient norm before clipping."),
    "clip_coefficient": ("foreshock_clip_coefficient", "Share of the gradient that clipping left."),
    "learning_rate": ("foreshock_learning_rate", "Learning rate of the first parameter group."),
    "step_seconds": ("foreshock_step_seconds", "Wall time of the newest step."),
    "canary_gain": ("foreshock_canary_gain", "Gain of layer 0, the worse direction."),
    "headroom_bits": (
        "foreshock_headroom_doublings",
        "Doublings left before the residual stream passes its dtype's range.",
    ),
    "adam_rms": ("foreshock_adam_rms", "The gradient beside Adam's memory of it; long updates above 2.3."),
    "update_ratio": ("foreshock_update_ratio", "RMS of the update over that of the parameters."),
}


@dataclass(frozen=True, slots=True)
class WorstLayer:
    """A gauge of one series' worst layer, by the direction in which it gets worse."""

    name: str
    series: str
    text: str
    worst: Callable[[Sequence[float]], Any] = np.max


_WORST: Final = (
    WorstLayer("foreshock_stream_worst", "stream_max", "Largest activation of any layer's residual stream."),
    WorstLayer("foreshock_attention_logit_worst", "max_attention_logit", "Largest attention logit."),
    WorstLayer(
        "foreshock_router_violation_worst",
        "router_max_violation",
        "How far the busiest expert's load is above the mean; healthy up to 2.",
    ),
    WorstLayer(
        "foreshock_router_entropy_worst",
        "router_entropy",
        "Least entropy of the experts' loads, 1 where all are alike.",
        np.min,
    ),
    WorstLayer(
        "foreshock_router_dead_experts_worst",
        "router_dead_experts",
        "Largest share of experts that no token was sent to.",
    ),
    WorstLayer("foreshock_router_staleness_worst", "router_staleness", "Largest staleness of a router."),
)


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A live run with the newest value of each of its columns."""

    row: sa.RowMapping
    values: Mapping[str, float]

    @property
    def labels(self) -> tuple[str, ...]:
        """The values of `LABELS`."""
        return labels_of(self.row)


def labels_of(row: sa.RowMapping) -> tuple[str, ...]:
    """The values of `LABELS` for a row of `runs`."""
    return row["run_id"], row["name"], row["project"]


def newest_families(live: Sequence[LiveRun]) -> Iterator[Metric]:
    """All gauges; a run has those of what it measures."""
    yield from _run_families(live)
    yield from _gain_families(live)
    for one in _WORST:
        family = GaugeMetricFamily(one.name, one.text, labels=LABELS)
        for run in live:
            if layers := _across_layers(run.values, one.series):
                family.add_metric(run.labels, float(one.worst(layers)))
        yield family


def _run_families(live: Sequence[LiveRun]) -> Iterator[Metric]:
    for series, (name, text) in _PLAIN.items():
        family = GaugeMetricFamily(name, text, labels=LABELS)
        for run in live:
            if series in run.values:
                family.add_metric(run.labels, run.values[series])
        yield family
    step = GaugeMetricFamily("foreshock_last_step", "Newest step of the run.", labels=LABELS)
    heartbeat = GaugeMetricFamily(
        "foreshock_heartbeat_timestamp_seconds", "When the run was last heard of.", labels=LABELS
    )
    for run in live:
        step.add_metric(run.labels, run.row["last_step"])
        heartbeat.add_metric(run.labels, run.row["heartbeat_at"])
    yield from (step, heartbeat)


def _gain_families(live: Sequence[LiveRun]) -> Iterator[Metric]:
    directed = (*LABELS, "direction")
    worst = GaugeMetricFamily(
        "foreshock_layer_gain_worst",
        "Largest Amax gain of a single layer, mean over tokens.",
        labels=directed,
    )
    across = GaugeMetricFamily(
        "foreshock_layer_gain",
        "Percentiles across layers of the Amax gain, mean over tokens.",
        labels=(*directed, "percentile"),
    )
    composite = GaugeMetricFamily(
        "foreshock_composite_gain_worst", "Largest composite Amax gain, mean over tokens.", labels=directed
    )
    for run in live:
        for direction in ("forward", "backward"):
            labels = (*run.labels, direction)
            if composites := _across_layers(run.values, f"composite_amax_{direction}_mean"):
                composite.add_metric(labels, float(np.max(composites)))
            if layers := _across_layers(run.values, f"layer_amax_{direction}_mean"):
                worst.add_metric(labels, float(np.max(layers)))
                for percentile, value in zip(PERCENTILES, _percentiles(layers), strict=True):
                    across.add_metric((*labels, str(percentile)), value)
    yield from (worst, across, composite)


def _across_layers(values: Mapping[str, float], series: str) -> list[float]:
    prefix = f"{series}["
    return [value for name, value in values.items() if name.startswith(prefix)]


def _percentiles(values: Sequence[float]) -> list[Any]:
    with np.errstate(invalid="ignore"):
        found: list[Any] = np.percentile(values, PERCENTILES).tolist()
    return found

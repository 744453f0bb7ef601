"""The few numbers of a step that rules look at over time, whatever columns a run has.

Each is one worst case over layers; NaN where the run does not measure it or measured NaN. Inf stays,
except where the carried log scale knows better.
"""

import math
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from foreshock.server.detection.sample import Sample

FloatArray = NDArray[np.float64]
NAN = float("nan")


class Measure(IntEnum):
    """The rows of a run's history."""

    LOSS = 0
    GRAD_NORM = 1
    CLIP_COEFFICIENT = 2
    CANARY_GAIN = 3
    LAYER_GAIN_FORWARD = 4
    LAYER_GAIN_BACKWARD = 5
    # Natural logarithms of the worst layer's composite amax, mean over tokens
    LOG_COMPOSITE_FORWARD = 6
    LOG_COMPOSITE_BACKWARD = 7
    SMALLEST_SUM = 8
    # Last layer's stream RMS over the first's, and the largest of all layers
    STREAM_RMS_RATIO = 9
    STREAM_RMS = 10
    HEADROOM_BITS = 11


def measure(sample: Sample) -> FloatArray:
    """The measures [Measure] of one step."""
    rms = sample.layers("stream_rms")
    return np.array(
        (
            sample.scalar("loss"),
            sample.scalar("grad_norm"),
            sample.scalar("clip_coefficient"),
            canary_gain(sample),
            largest(sample.layers("layer_amax_forward_mean")),
            largest(sample.layers("layer_amax_backward_mean")),
            _log_composite(sample, "composite_amax_forward_mean"),
            _log_composite(sample, "composite_amax_backward_mean"),
            smallest(sample.layers("composite_smallest_sum_mean")),
            _ratio(rms),
            largest(rms),
            sample.scalar("headroom_bits"),
        )
    )


def canary_gain(sample: Sample) -> float:
    """Layer 0's gain, mean over tokens, the worse of both directions."""
    both = [
        float(layers[0])
        for series in ("layer_amax_forward_mean", "layer_amax_backward_mean")
        if len(layers := sample.layers(series))
    ]
    finite = [gain for gain in both if not math.isnan(gain)]
    return max(finite) if finite else sample.scalar("canary_gain")


def layer_gains(sample: Sample) -> FloatArray:
    """Each layer's gain [layers], mean over tokens, the worse of both directions."""
    forward = sample.layers("layer_amax_forward_mean")
    backward = sample.layers("layer_amax_backward_mean")
    if len(forward) != len(backward):
        return forward if len(forward) else backward
    return np.fmax(forward, backward)


def largest(values: FloatArray) -> float:
    """The largest that is not NaN."""
    return float(np.fmax.reduce(values)) if len(values) else NAN


def smallest(values: FloatArray) -> float:
    """The smallest that is not NaN."""
    return float(np.fmin.reduce(values)) if len(values) else NAN


def worst_layer(values: FloatArray, lowest: bool = False) -> int:
    """The layer with the largest (or lowest) value that is not NaN; 0 where none is."""
    if not len(values) or np.isnan(values).all():
        return 0
    return int(np.nanargmin(values) if lowest else np.nanargmax(values))


def _ratio(rms: FloatArray) -> float:
    if len(rms) < 2 or not math.isfinite(rms[0]) or rms[0] <= 0:
        return NAN
    return float(rms[-1] / rms[0])


def _log_composite(sample: Sample, series: str) -> float:
    """log of the worst composite; from the carried scale where float32 has overflown."""
    gain = largest(sample.layers(series))
    if 0 < gain < math.inf:
        return math.log(gain)
    return largest(sample.layers(f"log_{series}"))

"""The few numbers of a step that rules look at over time, whatever columns a run has.

Each is one worst case over layers; NaN where the run does not measure it or measured NaN. Inf stays,
except where the carried log scale knows better.
"""

from enum import IntEnum
from typing import Final

import numpy as np

from foreshock.server.detection.block import Block
from foreshock.server.detection.sample import BoolArray, FloatArray, Sample

NAN: Final = float("nan")


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


def measure(block: Block) -> FloatArray:
    """The measures [Measure, S] of a block's steps."""
    rms = block.layers("stream_rms")
    return np.stack(
        (
            block.scalar("loss"),
            block.scalar("grad_norm"),
            block.scalar("clip_coefficient"),
            _canary_gain(block),
            worst_of_layers(block.layers("layer_amax_forward_mean")),
            worst_of_layers(block.layers("layer_amax_backward_mean")),
            _log_composite(block, "composite_amax_forward_mean"),
            _log_composite(block, "composite_amax_backward_mean"),
            np.fmin.reduce(block.layers("composite_smallest_sum_mean"), axis=1, initial=NAN),
            _ratio(rms),
            worst_of_layers(rms),
            block.scalar("headroom_bits"),
        )
    )


def layer_gains(sample: Sample) -> FloatArray:
    """Each layer's gain [layers], mean over tokens, the worse of both directions."""
    forward = sample.layers("layer_amax_forward_mean")
    backward = sample.layers("layer_amax_backward_mean")
    if len(forward) != len(backward):
        return forward if len(forward) else backward
    return np.fmax(forward, backward)


def block_gains(block: Block) -> FloatArray | None:
    """The same of many steps, [S, layers]; None where the two directions know different layers."""
    forward, backward = block.layers("layer_amax_forward_mean"), block.layers("layer_amax_backward_mean")
    if forward.shape == backward.shape:
        return np.fmax(forward, backward)
    if not forward.size or not backward.size:
        return forward if forward.size else backward
    return None


def tells_gains(block: Block) -> BoolArray:
    """At which steps [S] any layer's gain was told."""
    ways = ("layer_amax_forward_mean", "layer_amax_backward_mean")
    places = np.concatenate([block.columns.layers(series) for series in ways])
    told: BoolArray = np.logical_or.reduce(block.present[:, places], axis=1)
    return told


def largest(values: FloatArray) -> float:
    """The largest that is not NaN."""
    return float(np.fmax.reduce(values)) if len(values) else NAN


def worst_of_layers(values: FloatArray) -> FloatArray:
    """The largest [S] of values [S, layers] that is not NaN; NaN where none is."""
    most: FloatArray = np.fmax.reduce(values, axis=1, initial=NAN)
    return most


def worst_layer(values: FloatArray, lowest: bool = False) -> int:
    """The layer with the largest (or lowest) value that is not NaN; 0 where none is."""
    if not len(values) or np.isnan(values).all():
        return 0
    return int(np.nanargmin(values) if lowest else np.nanargmax(values))


def _canary_gain(block: Block) -> FloatArray:
    """Layer 0's gain [S], mean over tokens, the worse of both directions."""
    forward, backward = block.layers("layer_amax_forward_mean"), block.layers("layer_amax_backward_mean")
    gain = np.fmax(worst_of_layers(forward[:, :1]), worst_of_layers(backward[:, :1]))
    return np.where(np.isnan(gain), block.scalar("canary_gain"), gain)


def _ratio(rms: FloatArray) -> FloatArray:
    """The last layer's over the first's [S]."""
    if rms.shape[1] < 2:
        return np.full(len(rms), NAN)
    first, last = rms[:, 0], rms[:, -1]
    is_known = np.isfinite(first) & (first > 0)
    with np.errstate(over="ignore"):
        return _narrow(np.divide(last, first, out=np.full(len(rms), NAN), where=is_known))


def _log_composite(block: Block, series: str) -> FloatArray:
    """log of the worst composite [S]; from the carried scale where float32 has overflown."""
    gain = worst_of_layers(block.layers(series))
    logs = worst_of_layers(block.layers(f"log_{series}"))
    return _narrow(np.log(gain, out=logs, where=(gain > 0) & (gain < np.inf)))


def _narrow(values: FloatArray) -> FloatArray:
    """What is computed here is kept as precisely as what was sent, and takes as little room."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32).astype(np.float64)

"""The dozens of numbers of a step that the forecast is made of: one worst case over layers each.

Whatever columns a run has, a channel is a series of one number a step, in units in which growth is a
straight line: logarithms of what is positive. NaN where the run does not measure it, or measured
what is not finite; such values are the business of the rule `nonfinite`.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from foreshock.server.detection.block import Block
from foreshock.server.detection.context import Columns
from foreshock.server.detection.sample import FloatArray

Reduction = Literal["max", "min"]
# "logged": the series is a logarithm already, and people are told what it is the logarithm of
Scale = Literal["plain", "log", "log1p", "logged"]

# Smaller than any norm worth a logarithm; what is 0 is there
_SMALLEST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel: the worst over the layers of one series, or of several of the same unit.

    words: what it is called in a reason.
    limit: where the documents draw the line, in the channel's own scale; None where they do not.
    """

    name: str
    series: tuple[str, ...]
    words: str
    scale: Scale = "log"
    worst: Reduction = "max"
    limit: float | None = None


CHANNELS: Final = (
    Channel("loss", ("loss",), "the loss", "plain"),
    Channel("gradient", ("grad_norm",), "the gradient norm"),
    Channel("rate", ("learning_rate",), "the learning rate"),
    Channel("clipping", ("clip_coefficient",), "what clipping leaves of the gradient", "plain"),
    Channel("stream", ("stream_rms",), "the residual stream's RMS"),
    Channel("peak", ("stream_max",), "the largest activation"),
    Channel("headroom", ("headroom_bits",), "the doublings left before overflow", "plain", "min", limit=0.0),
    Channel(
        "composite",
        ("log_composite_amax_forward_mean", "log_composite_amax_backward_mean"),
        "the composite gain",
        "logged",
        limit=math.log(10.0),
    ),
    Channel(
        "layer",
        ("layer_amax_forward_mean", "layer_amax_backward_mean"),
        "a single layer's gain",
        limit=math.log(10.0),
    ),
    Channel("embedding", ("canary_embedding_rms",), "the embedding's RMS"),
    Channel("normalised", ("norm_input_rms",), "what normalisation has to undo"),
    Channel(
        "attention", ("max_attention_logit",), "the largest attention logit", "log1p", limit=math.log1p(1e3)
    ),
    Channel("partition", ("log_z_mean",), "the output's log partition function", "log1p"),
    Channel("update", ("update_ratio",), "the update beside the weights"),
    Channel("adam", ("adam_rms",), "the gradient beside Adam's memory of it", limit=math.log(2.3)),
    Channel("direction", ("update_cosine",), "how far the update follows the gradient", "plain", "min"),
    Channel("trust", ("trust_ratio",), "what the update achieves of what it promised", "plain", "min"),
    Channel("violation", ("router_max_violation",), "the busiest expert's load"),
    Channel("entropy", ("router_entropy",), "the entropy of the experts' loads", "plain", "min"),
    Channel("dead", ("router_dead_experts",), "the share of dead experts", "plain", limit=0.25),
    Channel("staleness", ("router_staleness",), "the router's staleness", "plain", limit=0.3),
    Channel("margin", ("router_margin_p01",), "the router's smallest margins", "log", "min"),
    Channel("swiglu", ("swiglu_headroom",), "the SwiGLU's room before its clamp", "plain", "min", limit=0.0),
)
NUM_CHANNELS: Final = len(CHANNELS)
PLACE: Final = {channel.name: place for place, channel in enumerate(CHANNELS)}


def read_channels(block: Block) -> FloatArray:
    """The channels [S, channels] of a block's steps; a layer that is not finite leaves the word to others."""
    found = np.full((len(block), NUM_CHANNELS), np.nan)
    for place, channel in enumerate(CHANNELS):
        places = columns_of_channel(block.columns, channel)
        if places:
            values = block.values[:, places]
            values[np.isinf(values)] = np.nan
            worst = np.fmax if channel.worst == "max" else np.fmin
            found[:, place] = _scaled(worst.reduce(values, axis=1), channel.scale)
    return found


def columns_of_channel(columns: Columns, channel: Channel) -> list[int]:
    """Where the channel's columns stand: layer by layer, or the one of a series without layers."""
    places: list[int] = []
    for series in channel.series:
        layers = columns.layers(series).tolist()
        alone = columns.scalar(series)
        places += layers or ([] if alone is None else [alone])
    return places


def _scaled(values: FloatArray, scale: Scale) -> FloatArray:
    if scale in ("plain", "logged"):
        return values
    if scale == "log1p":
        return np.log1p(np.abs(values))
    return np.log(np.maximum(values, _SMALLEST))

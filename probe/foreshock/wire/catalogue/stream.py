"""The residual stream and what normalisation has to undo in it."""

from typing import Final

from foreshock.wire.signal import Band, Signal

HC: Final = "arXiv:2409.19606"

STREAM: Final = (
    Signal(
        "stream_rms",
        "RMS of the residual stream that enters the layer",
        "sqrt(mean x^2)",
        "1",
        HC,
        per_layer=True,
        log_scale=True,
    ),
    Signal(
        "stream_max",
        "Largest magnitude in the residual stream that enters the layer",
        "max |x|",
        "1",
        HC,
        per_layer=True,
        log_scale=True,
    ),
    Signal(
        "headroom_bits",
        "Doublings left before the residual stream passes its dtype's range",
        "min_l log2(dtype max / stream_max_l)",
        "bit",
        "-",
        across_ranks="min",
        healthy=Band(4.0, 1024.0),
    ),
    Signal(
        "stream_first_max",
        "Largest magnitude of each window's first token in the stream that enters the layer",
        "max |x_0|",
        "1",
        "arXiv:2402.17762",
        per_layer=True,
        cadence="slow",
        log_scale=True,
    ),
    Signal(
        "norm_input_rms",
        "RMS of what a normalisation is given: how much it has to undo",
        "sqrt(mean x^2)",
        "1",
        "-",
        per_layer=True,
        cadence="slow",
        log_scale=True,
    ),
    Signal(
        "norm_weight_rms",
        "RMS of a normalisation's weights",
        "sqrt(mean w^2)",
        "1",
        "-",
        per_layer=True,
        cadence="slow",
    ),
    Signal(
        "swiglu_saturation",
        "Share of a SwiGLU's inputs at its clamp",
        "#{gate >= c or |linear| >= c} / #",
        "ratio",
        "arXiv:2606.19348",
        per_layer=True,
        cadence="slow",
        healthy=Band(0.0, 0.05),
    ),
    Signal(
        "swiglu_headroom",
        "Room between a SwiGLU's largest inputs and its clamp, before the clamp",
        "log(c / p99.9), c = 10 where there is no clamp",
        "nat",
        "arXiv:2606.19348",
        per_layer=True,
        across_ranks="min",
        cadence="slow",
        healthy=Band(0.0, 1024.0),
    ),
)

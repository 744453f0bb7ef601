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
)

"""Gains of single mixing matrices and of their products over depth."""

from foreshock.kernels.gain_scan.operator import Gain, Reduced, gain
from foreshock.kernels.gain_scan.reference import (
    MAX_STREAMS,
    CompositeGains,
    LayerGains,
    composite_gains,
    layer_gains,
    norm_two,
)

__all__ = [
    "MAX_STREAMS",
    "CompositeGains",
    "Gain",
    "LayerGains",
    "Reduced",
    "composite_gains",
    "gain",
    "layer_gains",
    "norm_two",
]

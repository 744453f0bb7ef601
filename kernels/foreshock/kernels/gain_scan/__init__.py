"""Gains of single mixing matrices and of their products over depth."""

from foreshock.kernels.gain_scan.reference import (
    CompositeGains,
    LayerGains,
    composite_gains,
    layer_gains,
    norm_two,
)

__all__ = ["CompositeGains", "LayerGains", "composite_gains", "layer_gains", "norm_two"]

"""Numeric cores of foreshock: the constraint of the mixing matrices, and the gains of their products.

Every operation has a readable reference that is its oracle and its CPU path. PyTorch only.
"""

from foreshock.kernels import hyper_connection
from foreshock.kernels.errors import KernelError, OptionError, ShapeError
from foreshock.kernels.gain_scan import CompositeGains, LayerGains, composite_gains, layer_gains, norm_two
from foreshock.kernels.sinkhorn_knopp import Convention, sinkhorn

__all__ = [
    "CompositeGains",
    "Convention",
    "KernelError",
    "LayerGains",
    "OptionError",
    "ShapeError",
    "composite_gains",
    "hyper_connection",
    "layer_gains",
    "norm_two",
    "sinkhorn",
]

"""Numeric cores of foreshock: the constraint of the mixing matrices, and the gains of their products.

Every operation has a readable reference that is its oracle, and Triton kernels for GPUs
behind `torch.library` operators; `backend_for` tells which one runs, `use_backend` chooses.
"""

from foreshock.kernels import hyper_connection
from foreshock.kernels.dispatch import Backend, backend_for, use_backend
from foreshock.kernels.errors import BackendError, KernelError, OptionError, ShapeError
from foreshock.kernels.gain_scan import (
    MAX_STREAMS,
    CompositeGains,
    Gain,
    LayerGains,
    Reduced,
    composite_gains,
    gain,
    layer_gains,
    norm_two,
)
from foreshock.kernels.sinkhorn_knopp import Convention, SinkhornStatistics, sinkhorn

__all__ = [
    "MAX_STREAMS",
    "Backend",
    "BackendError",
    "CompositeGains",
    "Convention",
    "Gain",
    "KernelError",
    "LayerGains",
    "OptionError",
    "Reduced",
    "ShapeError",
    "SinkhornStatistics",
    "backend_for",
    "composite_gains",
    "gain",
    "hyper_connection",
    "layer_gains",
    "norm_two",
    "sinkhorn",
    "use_backend",
]

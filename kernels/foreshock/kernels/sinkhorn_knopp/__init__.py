"""Sinkhorn-Knopp: logits to a doubly stochastic matrix."""

from foreshock.kernels.sinkhorn_knopp.operator import sinkhorn
from foreshock.kernels.sinkhorn_knopp.reference import Convention
from foreshock.kernels.sinkhorn_knopp.statistics import SinkhornStatistics

__all__ = ["Convention", "SinkhornStatistics", "sinkhorn"]

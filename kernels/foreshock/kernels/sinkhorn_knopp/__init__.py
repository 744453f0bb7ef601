"""Sinkhorn-Knopp: logits to a doubly stochastic matrix."""

from foreshock.kernels.sinkhorn_knopp.reference import Convention, sinkhorn

__all__ = ["Convention", "sinkhorn"]

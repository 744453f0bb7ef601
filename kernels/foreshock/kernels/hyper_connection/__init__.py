"""Hyper-connections: the coefficients, what the sub-layer reads, and the mix of streams and its output."""

from foreshock.kernels.hyper_connection.connection import (
    Coefficients,
    Form,
    aggregate,
    backend_for,
    coefficients,
    mix,
)

__all__ = ["Coefficients", "Form", "aggregate", "backend_for", "coefficients", "mix"]

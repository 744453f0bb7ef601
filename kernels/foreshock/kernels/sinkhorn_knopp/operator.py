"""The door to Sinkhorn: checks what is given, chooses the backend, and holds the custom operators.

`backend` names the module that does the work, "cpu" or "triton"; both have `forward` and `backward`.
"""

import importlib
from typing import Any, Literal, cast, overload

import torch
from torch import Tensor

from foreshock.kernels.dispatch import backend_for, check_triton
from foreshock.kernels.sinkhorn_knopp import reference
from foreshock.kernels.sinkhorn_knopp.reference import Convention
from foreshock.kernels.sinkhorn_knopp.statistics import (
    NUM_STATISTICS,
    SinkhornStatistics,
    statistics_of,
)


@overload
def sinkhorn(
    logits: Tensor,
    *,
    num_iterations: int = ...,
    convention: Convention = ...,
    return_statistics: Literal[False] = ...,
) -> Tensor: ...
@overload
def sinkhorn(
    logits: Tensor,
    *,
    num_iterations: int = ...,
    convention: Convention = ...,
    return_statistics: Literal[True],
) -> tuple[Tensor, SinkhornStatistics]: ...
def sinkhorn(
    logits: Tensor,
    *,
    num_iterations: int = 20,
    convention: Convention = "paper",
    return_statistics: bool = False,
) -> Tensor | tuple[Tensor, SinkhornStatistics]:
    """Returns the (nearly) doubly stochastic matrices [..., n, n] that `logits` [..., n, n] lead to.

    `paper` (arXiv:2512.24880, eq. 9): exp, then columns and rows in turn, so rows come last and are
    exact. `rows_first`: rows and columns in turn, so columns are exact. `v4` (arXiv:2606.19348):
    softmax over the last axis plus 1e-6, columns, then (rows, columns) `num_iterations - 1` times with
    1e-6 in each divisor. At n = 1 the result is exactly 1 and its gradient exactly 0.

    With `return_statistics` the pair (result, SinkhornStatistics) comes back; the fused kernel reduces
    them while it holds the matrices, so they cost no second pass.

    Rows or columns wholly at -inf have a defined result (README); NaN and +inf make their own matrix
    NaN and no other. The gradient is that of the truncated loop. bfloat16 and float16 are computed in
    float32, but by the reference. `backend_for(logits)` tells which implementation runs.

    Raises ShapeError unless the last two axes are equal and 1 to 8 long, OptionError for an unknown
    convention, fewer than one iteration, a layout other than strided or a dtype that is not floating
    point, BackendError where the chosen backend cannot run.
    """
    reference.check(logits, num_iterations, convention)
    chosen = backend_for(logits)
    if chosen == "triton":
        check_triton("sinkhorn", logits)
    if chosen == "reference" or logits.shape[-1] == 1 or logits.numel() == 0:
        return _by_reference(logits, num_iterations, convention, return_statistics)
    result, values_S2 = sinkhorn_forward(logits, num_iterations, convention, return_statistics, chosen)
    return (result, SinkhornStatistics(values_S2)) if return_statistics else result


def _by_reference(
    logits: Tensor, num_iterations: int, convention: Convention, return_statistics: bool
) -> Tensor | tuple[Tensor, SinkhornStatistics]:
    result = reference.sinkhorn(logits, num_iterations=num_iterations, convention=convention)
    return (result, statistics_of(result, logits)) if return_statistics else result


@torch.library.custom_op("foreshock::sinkhorn", mutates_args=())
def sinkhorn_forward(
    logits: Tensor, num_iterations: int, convention: str, return_statistics: bool, backend: str
) -> tuple[Tensor, Tensor]:
    """Runs the forward pass on `backend`: result, and statistics [5, 2] ([0, 2] unless asked for)."""
    result_Tnn, statistics_S2 = _module(backend).forward(
        _matrices(logits), num_iterations, cast(Convention, convention), return_statistics
    )
    return result_Tnn.view(logits.shape), statistics_S2


@sinkhorn_forward.register_fake
def _forward_fake(
    logits: Tensor, num_iterations: int, convention: str, return_statistics: bool, backend: str
) -> tuple[Tensor, Tensor]:
    num_statistics = NUM_STATISTICS if return_statistics else 0
    return logits.new_empty(logits.shape), logits.new_empty((num_statistics, 2), dtype=torch.float32)


@torch.library.custom_op("foreshock::sinkhorn_backward", mutates_args=())
def sinkhorn_backward(
    logits: Tensor, gradient: Tensor, num_iterations: int, convention: str, backend: str
) -> Tensor:
    """Runs the backward pass: the gradient of the logits from that of the result."""
    gradient_Tnn = _matrices(gradient.to(logits.dtype))
    result_Tnn: Tensor = _module(backend).backward(
        _matrices(logits), gradient_Tnn, num_iterations, cast(Convention, convention)
    )
    return result_Tnn.view(logits.shape)


@sinkhorn_backward.register_fake
def _backward_fake(
    logits: Tensor, gradient: Tensor, num_iterations: int, convention: str, backend: str
) -> Tensor:
    return logits.new_empty(logits.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0])
    _, ctx.num_iterations, ctx.convention, _, ctx.backend = inputs
    ctx.mark_non_differentiable(output[1])
    # No zeros in the place of a gradient that the statistics cannot have
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, gradient: Tensor | None, _statistics: None) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return None, None, None, None, None
    result = sinkhorn_backward(*ctx.saved_tensors, gradient, ctx.num_iterations, ctx.convention, ctx.backend)
    return result, None, None, None, None


sinkhorn_forward.register_autograd(_differentiate, setup_context=_setup_context)


def _module(backend: str) -> Any:
    return importlib.import_module(f"foreshock.kernels.sinkhorn_knopp.{backend}")


def _matrices(value: Tensor) -> Tensor:
    return value.reshape(-1, *value.shape[-2:]).contiguous()

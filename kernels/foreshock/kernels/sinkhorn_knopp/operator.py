"""The door to Sinkhorn: checks what is given, chooses the backend, and holds the custom operators."""

from typing import Any, Literal, cast, overload

import torch
from torch import Tensor

from foreshock.kernels.dispatch import backend_for, check_triton
from foreshock.kernels.sinkhorn_knopp import reference
from foreshock.kernels.sinkhorn_knopp.reference import Convention
from foreshock.kernels.sinkhorn_knopp.statistics import SinkhornStatistics, measure, unpack


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
    float32 by the fused kernel. `backend_for(logits)` tells which implementation runs.

    Raises ShapeError unless the last two axes are equal and 1 to 8 long, OptionError for an unknown
    convention, fewer than one iteration, a layout other than strided or a dtype that is not floating
    point, BackendError where the chosen backend cannot run.
    """
    reference.check(logits, num_iterations, convention)
    is_trivial = logits.shape[-1] == 1 or logits.numel() == 0
    if backend_for(logits) == "triton" and not is_trivial:
        result, values_S2 = sinkhorn_forward(logits, num_iterations, convention, return_statistics)
        return (result, unpack(values_S2)) if return_statistics else result
    result = reference.sinkhorn(logits, num_iterations=num_iterations, convention=convention)
    return (result, unpack(measure(logits, result))) if return_statistics else result


@torch.library.custom_op("foreshock::sinkhorn", mutates_args=())
def sinkhorn_forward(
    logits: Tensor, num_iterations: int, convention: str, return_statistics: bool
) -> tuple[Tensor, Tensor]:
    """Runs the forward kernel: result, and statistics [5, 2] ([0, 2] unless asked for)."""
    check_triton("sinkhorn", logits)
    from foreshock.kernels.sinkhorn_knopp.triton import launch_forward

    result_Tnn, sums_PS2 = launch_forward(
        _matrices(logits), num_iterations, cast(Convention, convention), return_statistics
    )
    if not return_statistics:
        return result_Tnn.reshape(logits.shape), _no_statistics(logits)
    # A program's maximum is NaN where its sum is, so that torch's own NaN-keeping maximum finds it.
    mean_S, max_S = sums_PS2[..., 0].sum(0) / len(result_Tnn), sums_PS2[..., 1].amax(0)
    return result_Tnn.reshape(logits.shape), torch.stack((mean_S, max_S), dim=-1)


@sinkhorn_forward.register_fake
def _forward_fake(
    logits: Tensor, num_iterations: int, convention: str, return_statistics: bool
) -> tuple[Tensor, Tensor]:
    statistics = (
        logits.new_empty((5, 2), dtype=torch.float32) if return_statistics else _no_statistics(logits)
    )
    return logits.new_empty(logits.shape), statistics


@torch.library.custom_op("foreshock::sinkhorn_backward", mutates_args=())
def sinkhorn_backward(logits: Tensor, gradient: Tensor, num_iterations: int, convention: str) -> Tensor:
    """Runs the backward kernel: the gradient of the logits from that of the result."""
    check_triton("sinkhorn", logits)
    from foreshock.kernels.sinkhorn_knopp.triton import launch_backward

    gradient_Tnn = _matrices(gradient.to(logits.dtype))
    result_Tnn = launch_backward(
        _matrices(logits), gradient_Tnn, num_iterations, cast(Convention, convention)
    )
    return result_Tnn.reshape(logits.shape)


@sinkhorn_backward.register_fake
def _backward_fake(logits: Tensor, gradient: Tensor, num_iterations: int, convention: str) -> Tensor:
    return logits.new_empty(logits.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.num_iterations, ctx.convention = inputs[1], inputs[2]
    ctx.mark_non_differentiable(output[1])


def _differentiate(ctx: Any, gradient: Tensor, _statistics: Tensor | None) -> tuple[Tensor | None, ...]:
    (logits,) = ctx.saved_tensors
    return sinkhorn_backward(logits, gradient, ctx.num_iterations, ctx.convention), None, None, None


sinkhorn_forward.register_autograd(_differentiate, setup_context=_setup_context)


def _matrices(value: Tensor) -> Tensor:
    return value.reshape(-1, *value.shape[-2:]).contiguous()


def _no_statistics(logits: Tensor) -> Tensor:
    return logits.new_empty((0, 2), dtype=torch.float32)

"""Sinkhorn-Knopp as Triton kernels: each matrix is read once, iterated on chip, and written once.

Shape suffixes: T matrices of one program, i rows and j columns, both padded to a power of two.
In `rows_first` and `v4` the matrix is transposed on chip, so that every convention is the same loop:
softmax over i, rows, then (columns, rows) `num_iterations - 1` times (iteration.py). Here are the forward
kernel with its statistics, and the launches; gradient.py has the backward kernel. I/O count: README.
"""

from typing import Final, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from foreshock.kernels.combine import combine
from foreshock.kernels.sinkhorn_knopp import statistics
from foreshock.kernels.sinkhorn_knopp.gradient import sinkhorn_backward_kernel
from foreshock.kernels.sinkhorn_knopp.iteration import WIDE, lift, logit_range, solve
from foreshock.kernels.sinkhorn_knopp.reference import V4_EPSILON, Convention
from foreshock.kernels.sinkhorn_knopp.tile import is_real, load_tile, store_tile

NUM_STATISTICS: Final = tl.constexpr(statistics.NUM_STATISTICS)


class Meta(NamedTuple):
    """How a program is cut: its matrices and warps, and the steps whose scales its backward holds at once."""

    block: int
    num_warps: int
    segment: int
    log_segment: int


def meta(num_streams: int, convention: Convention) -> Meta:
    """A thread owns a matrix up to four streams, part of one at eight; between, a warp does.

    The segments are the longest that spill nothing and need at most 128 registers; `v4` has to keep
    both scales of each step.
    """
    is_v4 = convention == "v4"
    if num_streams <= 4:
        return Meta(block=64, num_warps=2, segment=2 if is_v4 else 5, log_segment=1)
    if num_streams < 8:
        return Meta(block=4, num_warps=4, segment=2 if is_v4 else 5, log_segment=1)
    return Meta(block=16, num_warps=4, segment=3 if is_v4 else 7, log_segment=1)


@triton.jit
def _store_statistic(pointer, value_T, witness_T, is_token_T):
    """Sum and maximum over the program's matrices; a NaN in one's witness makes both NaN."""
    value_T = tl.where(witness_T == witness_T, value_T, witness_T)
    total = tl.sum(tl.where(is_token_T, value_T, 0.0), 0)
    largest = tl.max(tl.where(is_token_T, value_T, -float("inf")), 0)
    tl.store(pointer, total.to(tl.float32))
    tl.store(pointer + 1, tl.where(total == total, largest, total).to(tl.float32))


@triton.jit
def _largest_error(sums_Tx, N: tl.constexpr, P: tl.constexpr):
    return tl.max(tl.where((tl.arange(0, P) < N)[None, :], tl.abs(sums_Tx - 1.0), 0.0), 1)


@triton.jit
def _store_statistics(
    pointer,
    result_Tji,
    range_T,
    logit_sum_T,
    is_token_T,
    TRANSPOSE: tl.constexpr,
    N: tl.constexpr,
    P: tl.constexpr,
):
    """Row error, column error, amax forward and backward, logit range. Maxima alone would lose a NaN."""
    if TRANSPOSE:
        result_Tji = tl.permute(result_Tji, (0, 2, 1))
    result_Tji = tl.where(is_real(N, P), result_Tji, 0.0)
    row_Ti, column_Tj = tl.sum(result_Tji, 1), tl.sum(result_Tji, 2)
    witness_T = tl.sum(row_Ti, 1)
    _store_statistic(pointer, _largest_error(row_Ti, N, P), witness_T, is_token_T)
    _store_statistic(pointer + 2, _largest_error(column_Tj, N, P), witness_T, is_token_T)
    _store_statistic(pointer + 4, tl.max(tl.abs(row_Ti), 1), witness_T, is_token_T)
    _store_statistic(pointer + 6, tl.max(tl.abs(column_Tj), 1), witness_T, is_token_T)
    _store_statistic(pointer + 8, range_T, logit_sum_T, is_token_T)


@triton.jit
def sinkhorn_forward_kernel(
    logits_pointer,
    result_pointer,
    partial_pointer,
    statistics_pointer,
    counter_pointer,
    num_matrices,
    num_iterations,
    N: tl.constexpr,
    P: tl.constexpr,
    BLOCK: tl.constexpr,
    TRANSPOSE: tl.constexpr,
    EPSILON: tl.constexpr,
    STATISTICS: tl.constexpr,
):
    matrix_T = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    logits_Tji = load_tile(logits_pointer, matrix_T, num_matrices, N, P, TRANSPOSE)
    range_T = logit_range(logits_Tji, N, P)
    logit_sum_T = tl.sum(tl.sum(tl.abs(logits_Tji), 2), 1)
    logits_Tji, _empty = lift(logits_Tji, N, P)
    if EPSILON > 0:
        result_Tji = solve(logits_Tji, num_iterations - 1, EPSILON, False, N, P)
    elif tl.max(range_T, 0) > WIDE:
        result_Tji = solve(logits_Tji, num_iterations - 1, EPSILON, True, N, P)
    else:
        result_Tji = solve(logits_Tji, num_iterations - 1, EPSILON, False, N, P)
    store_tile(result_pointer, matrix_T, result_Tji, num_matrices, N, P, TRANSPOSE)
    if STATISTICS:
        place = partial_pointer + tl.program_id(0).to(tl.int64) * (2 * NUM_STATISTICS)
        is_token_T = matrix_T < num_matrices
        _store_statistics(place, result_Tji, range_T, logit_sum_T, is_token_T, TRANSPOSE, N, P)
        num_programs = tl.num_programs(0)
        combine(
            partial_pointer, statistics_pointer, counter_pointer,
            num_programs, NUM_STATISTICS, num_programs, num_matrices,
            SLOTS=128, ENTRIES=8,
        )  # fmt: skip


def forward(
    logits_Tnn: Tensor, num_iterations: int, convention: Convention, return_statistics: bool
) -> tuple[Tensor, Tensor]:
    """Returns the result, and the statistics [5, 2] ([0, 2] unless asked for).

    `logits_Tnn` is contiguous, with at least one matrix of at least two streams.
    """
    num_matrices, num_streams = logits_Tnn.shape[0], logits_Tnn.shape[-1]
    cut = meta(num_streams, convention)
    num_programs = triton.cdiv(num_matrices, cut.block)
    result_Tnn = torch.empty_like(logits_Tnn)
    num_reports = num_programs if return_statistics else 0
    partial_PS2 = logits_Tnn.new_empty((num_reports, NUM_STATISTICS, 2), dtype=torch.float32)
    statistics_S2 = partial_PS2.new_empty((NUM_STATISTICS if return_statistics else 0, 2))
    counter = partial_PS2.new_zeros((1 if return_statistics else 0,), dtype=torch.int32)
    sinkhorn_forward_kernel[(num_programs,)](
        logits_Tnn,
        result_Tnn,
        partial_PS2,
        statistics_S2,
        counter,
        num_matrices,
        num_iterations,
        BLOCK=cut.block,
        STATISTICS=return_statistics,
        num_warps=cut.num_warps,
        **constants(num_streams, convention),
    )
    return result_Tnn, statistics_S2


def backward(logits_Tnn: Tensor, gradient_Tnn: Tensor, num_iterations: int, convention: Convention) -> Tensor:
    """Returns the gradient of the logits; both inputs are contiguous, as in `forward`."""
    num_matrices, num_streams = logits_Tnn.shape[0], logits_Tnn.shape[-1]
    cut = meta(num_streams, convention)
    result_Tnn = torch.empty_like(logits_Tnn)
    sinkhorn_backward_kernel[(triton.cdiv(num_matrices, cut.block),)](
        logits_Tnn,
        gradient_Tnn,
        result_Tnn,
        num_matrices,
        BLOCK=cut.block,
        num_warps=cut.num_warps,
        **segments(num_iterations, cut),
        **constants(num_streams, convention),
    )
    return result_Tnn


def constants(num_streams: int, convention: Convention) -> dict[str, int | float | bool]:
    """The compile-time constants that both kernels share."""
    return {
        "N": num_streams,
        "P": triton.next_power_of_2(num_streams),
        "TRANSPOSE": convention != "paper",
        "EPSILON": V4_EPSILON if convention == "v4" else 0.0,
    }


def segments(num_iterations: int, cut: Meta) -> dict[str, int]:
    """The backward's steps after the first, and the lengths of the segments it takes them in."""
    num_steps = num_iterations - 1
    return {
        "NUM_STEPS": num_steps,
        "SEGMENT": _even_length(num_steps, cut.segment),
        "LOG_SEGMENT": _even_length(num_steps, cut.log_segment),
    }


def _even_length(num_steps: int, longest: int) -> int:
    """The shortest length that needs no more segments than `longest` does."""
    num_segments = max(1, -(-num_steps // longest))
    return max(1, -(-num_steps // num_segments))

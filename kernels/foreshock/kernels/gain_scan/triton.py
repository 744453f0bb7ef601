"""Products over depth as one Triton kernel: prefixes and suffixes, reduced where they are computed.

Shape suffixes: T tokens of one program; P, k, i a product's columns and rows, padded to a power of two.
Suffixes are held transposed, as prefixes of the reversed list, so that sums over k serve both.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from foreshock.kernels.combine import combine
from foreshock.kernels.sinkhorn_knopp.tile import is_real, load_tile

TINY = tl.constexpr(1.1754943508222875e-38)
LOG_TINY = tl.constexpr(-87.33654475055310)


def block(num_streams: int) -> tuple[int, int]:
    """Tokens and warps of one program."""
    return (32, 1) if num_streams <= 4 else (2, 1)


@triton.jit
def _absolute_max(M_Tki):
    return tl.max(tl.max(tl.abs(M_Tki), 2), 1)


@triton.jit
def _pick(M_Txy, index: tl.constexpr, axis: tl.constexpr):
    """One row or column; where a thread owns a matrix this is a choice of registers."""
    at = tl.arange(0, M_Txy.shape[axis])
    at = at[None, :, None] if axis == 1 else at[None, None, :]
    return tl.sum(tl.where(at == index, M_Txy, 0.0), axis)


@triton.jit
def _advance(P_Tki, H_Tmi, log_scale_T, N: tl.constexpr):
    """H P, its largest entry 1 again, beside the logarithm of what was divided out."""
    size_T = tl.maximum(_absolute_max(H_Tmi), TINY)
    H_Tmi = H_Tmi / size_T[:, None, None]
    product_Tki = _pick(P_Tki, 0, 2)[:, :, None] * _pick(H_Tmi, 0, 1)[:, None, :]
    for m in tl.static_range(1, N):
        product_Tki += _pick(P_Tki, m, 2)[:, :, None] * _pick(H_Tmi, m, 1)[:, None, :]
    P_Tki = product_Tki
    growth_T = _absolute_max(P_Tki)
    P_Tki = P_Tki / tl.maximum(growth_T, TINY)[:, None, None]
    return P_Tki, log_scale_T + tl.log(size_T).to(tl.float64) + tl.log(growth_T).to(tl.float64)


@triton.jit
def _store(pointer, value_T, witness_T, is_token_T):
    """Sum and maximum over the program's tokens; a NaN in one's witness makes both NaN."""
    value_T = tl.where(witness_T == witness_T, value_T, witness_T)
    total = tl.sum(tl.where(is_token_T, value_T, 0.0), 0)
    largest = tl.max(tl.where(is_token_T, value_T, -float("inf")), 0)
    tl.store(pointer, total.to(tl.float32))
    tl.store(pointer + 1, tl.where(total == total, largest, total).to(tl.float32))


@triton.jit
def _rotate(p_Ti, q_Ti):
    """The rotation after which two columns are orthogonal (one-sided Jacobi)."""
    mixed_T = tl.sum(p_Ti * q_Ti, 1)
    zeta_T = (tl.sum(q_Ti * q_Ti, 1) - tl.sum(p_Ti * p_Ti, 1)) / (2.0 * mixed_T)
    tangent_T = 1.0 / (tl.abs(zeta_T) + tl.sqrt(1.0 + zeta_T * zeta_T))
    tangent_T = tl.where(mixed_T == 0.0, 0.0, tl.where(zeta_T < 0.0, -tangent_T, tangent_T))
    cosine_T = 1.0 / tl.sqrt(1.0 + tangent_T * tangent_T)
    sine_T1, cosine_T1 = (cosine_T * tangent_T)[:, None], cosine_T[:, None]
    return cosine_T1 * p_Ti - sine_T1 * q_Ti, sine_T1 * p_Ti + cosine_T1 * q_Ti


@triton.jit
def _singular_values(M_Tki, N: tl.constexpr):
    """All N singular values, largest first, as a tuple of [T]."""
    columns = (_pick(M_Tki, 0, 1),)
    for index in tl.static_range(1, N):
        columns = columns + (_pick(M_Tki, index, 1),)
    for _ in range(5 if N <= 4 else 8):
        for p in tl.static_range(N - 1):
            for q in tl.static_range(p + 1, N):
                p_Ti, q_Ti = _rotate(columns[p], columns[q])
                columns = columns[:p] + (p_Ti,) + columns[p + 1 : q] + (q_Ti,) + columns[q + 1 :]
    values = (tl.sqrt(tl.sum(columns[0] * columns[0], 1)),)
    for index in tl.static_range(1, N):
        values = values + (tl.sqrt(tl.sum(columns[index] * columns[index], 1)),)
    for p in tl.static_range(N - 1):
        for q in tl.static_range(p + 1, N):
            high_T, low_T = tl.maximum(values[p], values[q]), tl.minimum(values[p], values[q])
            values = values[:p] + (high_T,) + values[p + 1 : q] + (low_T,) + values[q + 1 :]
    return values


@triton.jit
def _deviation(sums_Tx, log_scale_T, N: tl.constexpr, P: tl.constexpr):
    """max |log max(|sum|, tiny)| over the real sums."""
    log_Tx = tl.maximum(tl.log(tl.abs(sums_Tx)) + log_scale_T[:, None], LOG_TINY)
    return tl.max(tl.where((tl.arange(0, P) < N)[None, :], tl.abs(log_Tx), 0.0), 1)


@triton.jit
def _store_gains(place, P_Tki, log_scale_T, witness_T, is_token_T):
    """Amax and norm of the sums over k: forward gains of a prefix, backward gains of a suffix."""
    amax_T = tl.max(tl.abs(tl.sum(P_Tki, 1)), 1)
    norm_T = tl.max(tl.sum(tl.abs(P_Tki), 1), 1)
    _store(place, tl.log(amax_T) + log_scale_T, witness_T, is_token_T)
    _store(place + 2, tl.log(norm_T) + log_scale_T, witness_T, is_token_T)


@triton.jit
def _store_prefix(place, P_Tki, log_scale_T, witness_T, is_token_T, N: tl.constexpr, P: tl.constexpr):
    row_Ti, column_Tk = tl.sum(P_Tki, 1), tl.sum(P_Tki, 2)
    _store(place + 4, _deviation(row_Ti, log_scale_T, N, P), witness_T, is_token_T)
    _store(place + 6, _deviation(column_Tk, log_scale_T, N, P), witness_T, is_token_T)
    negative_T = tl.sum((row_Ti < 0).to(tl.float32), 1) + tl.sum((column_Tk < 0).to(tl.float32), 1)
    _store(place + 8, negative_T, witness_T, is_token_T)
    mean_T = tl.sum(row_Ti, 1) / (N * N)
    centred_Tki = P_Tki - row_Ti[:, None, :] / N - column_Tk[:, :, None] / N + mean_T[:, None, None]
    centred_Tki = tl.where(is_real(N, P), centred_Tki, 0.0)
    collapse_T = _singular_values(centred_Tki, N)[0]
    _store(place + 10, tl.log(collapse_T) + log_scale_T, witness_T, is_token_T)
    values = _singular_values(P_Tki, N)
    for index in tl.static_range(N):
        _store(place + 12 + 2 * index, tl.log(values[index]) + log_scale_T, witness_T, is_token_T)


@triton.jit
def gain_kernel(
    H_pointer,
    partial_pointer,
    out_pointer,
    counter_pointer,
    num_layers,
    num_tokens,
    N: tl.constexpr,
    P: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Programs (x, 0) scan prefixes, (x, 1) suffixes; partial is [x, layers, N + 8, sum and maximum].

    The last program to finish reduces it to out [layers, N + 8, mean and maximum].
    """
    token_T = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    is_token_T = token_T < num_tokens
    # By tl.cast: an argument of 1 arrives as a plain number, which has no `to`
    num_matrices = tl.cast(num_layers, tl.int64) * num_tokens
    identity_Tki = tl.where(
        (tl.arange(0, P)[None, :, None] == tl.arange(0, P)[None, None, :]) & is_real(N, P), 1.0, 0.0
    )
    P_Tki = tl.broadcast_to(identity_Tki, (BLOCK, P, P))
    log_scale_T = tl.zeros((BLOCK,), tl.float64)
    first_place = partial_pointer + tl.program_id(0).to(tl.int64) * num_layers * (2 * N + 16)
    for depth in range(num_layers):
        is_suffix = tl.program_id(1) == 1
        layer = tl.where(is_suffix, num_layers - 1 - depth, depth)
        matrix_T = tl.where(is_token_T, tl.cast(layer, tl.int64) * num_tokens + token_T, num_matrices)
        H_Tmi = load_tile(H_pointer, matrix_T, num_matrices, N, P, False).to(tl.float32)
        H_Tmi = tl.where(is_suffix, tl.permute(H_Tmi, (0, 2, 1)), H_Tmi)
        P_Tki, log_scale_T = _advance(P_Tki, H_Tmi, log_scale_T, N)
        witness_T = tl.sum(tl.sum(P_Tki, 2), 1)
        scale_T = log_scale_T.to(tl.float32)
        place = first_place + layer * (2 * N + 16)
        if is_suffix:
            _store_gains(place + 12 + 2 * N, P_Tki, scale_T, witness_T, is_token_T)
        else:
            _store_gains(place, P_Tki, scale_T, witness_T, is_token_T)
            _store_prefix(place, P_Tki, scale_T, witness_T, is_token_T, N, P)
    num_slots = tl.num_programs(0)
    combine(
        partial_pointer, out_pointer, counter_pointer,
        num_slots, num_layers * (N + 8), 2 * num_slots, num_tokens,
        SLOTS=8, ENTRIES=64,
    )  # fmt: skip


def reduced_gains(H_LTnn: Tensor) -> Tensor:
    """Returns mean and maximum over tokens, [n + 8, L, 2], of contiguous `H_LTnn` with at least one token."""
    num_layers, num_tokens, num_streams = H_LTnn.shape[:3]
    block_size, num_warps = block(num_streams)
    num_programs = triton.cdiv(num_tokens, block_size)
    partial_XLG2 = H_LTnn.new_empty((num_programs, num_layers, num_streams + 8, 2), dtype=torch.float32)
    out_LG2 = torch.empty_like(partial_XLG2[0])
    gain_kernel[(num_programs, 2)](
        H_LTnn,
        partial_XLG2,
        out_LG2,
        torch.zeros((), dtype=torch.int32, device=H_LTnn.device),
        num_layers,
        num_tokens,
        N=num_streams,
        P=triton.next_power_of_2(num_streams),
        BLOCK=block_size,
        num_warps=num_warps,
    )
    return out_LG2.transpose(0, 1)

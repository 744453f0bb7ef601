"""The projection's gradients as Triton kernels: one for up to four streams, two above.

Shape suffixes as in projection.py. `gradients_kernel` keeps a block of the weight and of its gradient, and
reads the rows once. More than 32 columns would not fit its registers: there each gradient has a kernel.
"""

import triton
import triton.language as tl

from foreshock.kernels.hyper_connection.splitting import load_weight, multiply, split, tile


@triton.jit
def scale_gradient_kernel(
    grad_pointer,
    raw_pointer,
    inverse_pointer,
    scaled_pointer,
    along_pointer,
    num_rows,
    K: tl.constexpr,
    M: tl.constexpr,
    PADDED: tl.constexpr,
    R: tl.constexpr,
    PARTS: tl.constexpr,
):
    """grad / rms in parts [part, R, M], and (grad . raw) / (K rms^2) of each row."""
    row_R = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    column_M = tl.arange(0, PADDED)
    offset_RM, mask_RM = tile(row_R, column_M, num_rows, M, R, PADDED)
    grad_RM = tl.load(grad_pointer + offset_RM, mask_RM, 0.0)
    raw_RM = tl.load(raw_pointer + offset_RM, mask_RM, 0.0)
    inverse_R = tl.load(inverse_pointer + row_R, row_R < num_rows, 0.0)
    along_R = tl.sum(grad_RM * raw_RM, 1) * inverse_R * inverse_R / K
    tl.store(along_pointer + row_R, along_R, row_R < num_rows)
    rest_RM = grad_RM * inverse_R[:, None]
    scaled = scaled_pointer + offset_RM
    for _ in tl.static_range(PARTS - 1):
        part_RM, rest_RM = split(rest_RM, PARTS)
        tl.store(scaled, part_RM, mask_RM)
        scaled += tl.cast(num_rows, tl.int64) * M  # not num_rows.to: 1 arrives as a plain number
    tl.store(scaled, rest_RM, mask_RM)


@triton.jit
def gradients_kernel(
    scaled_pointer,
    along_pointer,
    rows_pointer,
    weight_pointer,
    grad_rows_pointer,
    partial_pointer,
    num_rows,
    num_blocks,
    K: tl.constexpr,
    M: tl.constexpr,
    PADDED: tl.constexpr,
    R: tl.constexpr,
    BLOCK: tl.constexpr,
    PARTS: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Both gradients for one block of K, over `num_blocks` blocks of rows."""
    column_K = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    column_M = tl.arange(0, PADDED)
    weight_KM = load_weight(weight_pointer, 0, column_K, column_M, K, M, BLOCK, PADDED)
    if PARTS > 1:
        second_KM = load_weight(weight_pointer, 1, column_K, column_M, K, M, BLOCK, PADDED)
    partial_KM = tl.zeros((BLOCK, PADDED), tl.float32)
    for block in tl.range(0, num_blocks, num_stages=STAGES):
        row_R = (tl.program_id(1) * num_blocks + block).to(tl.int64) * R + tl.arange(0, R)
        offset_RK, mask_RK = tile(row_R, column_K, num_rows, K, R, BLOCK)
        rows_RK = tl.load(rows_pointer + offset_RK, mask_RK, 0.0)
        along_R = tl.load(along_pointer + row_R, row_R < num_rows, 0.0)
        offset_RM, mask_RM = tile(row_R, column_M, num_rows, M, R, PADDED)
        scaled = scaled_pointer + offset_RM
        scaled_RM = tl.load(scaled, mask_RM, 0.0)
        wide_RK = rows_RK.to(tl.float32)
        factor_RK = rows_RK if PARTS == 3 else wide_RK
        if PARTS == 2 and rows_RK.dtype == tl.float32:
            factor_RK, rest_RK = split(wide_RK, PARTS)
            partial_KM = multiply(tl.trans(rest_RK), scaled_RM, partial_KM, PARTS)
        if PARTS == 3:
            third_RM = tl.load(scaled + 2 * tl.cast(num_rows, tl.int64) * M, mask_RM, 0.0)
            partial_KM = multiply(tl.trans(factor_RK), third_RM, partial_KM, PARTS)
        if PARTS > 1:
            second_RM = tl.load(scaled + tl.cast(num_rows, tl.int64) * M, mask_RM, 0.0)
            partial_KM = multiply(tl.trans(factor_RK), second_RM, partial_KM, PARTS)
        partial_KM = multiply(tl.trans(factor_RK), scaled_RM, partial_KM, PARTS)
        # Two parts of each are enough for the rows' gradient: where there are three it is bfloat16.
        product_KR = tl.zeros((BLOCK, R), tl.float32)
        if PARTS > 1:
            product_KR = multiply(second_KM, tl.trans(scaled_RM), product_KR, PARTS)
            product_KR = multiply(weight_KM, tl.trans(second_RM), product_KR, PARTS)
        product_KR = multiply(weight_KM, tl.trans(scaled_RM), product_KR, PARTS)
        result_RK = tl.trans(product_KR) - wide_RK * along_R[:, None]
        tl.store(grad_rows_pointer + offset_RK, result_RK, mask_RK)
    place_KM = (tl.program_id(1).to(tl.int64) * K + column_K[:, None]) * M + column_M[None, :]
    tl.store(partial_pointer + place_KM, partial_KM, (column_K < K)[:, None] & (column_M < M)[None, :])


@triton.jit
def _load(pointer, row_R, column_K, num_rows, width, K: tl.constexpr):
    mask_RK = (row_R < num_rows)[:, None] & (column_K < width)[None, :]
    return tl.load(pointer + row_R[:, None] * K + column_K[None, :], mask_RK, 0.0).to(tl.float32)


@triton.jit
def rows_gradient_kernel(
    grad_pointer,
    rows_pointer,
    weight_pointer,
    raw_pointer,
    inverse_pointer,
    grad_rows_pointer,
    num_rows,
    K: tl.constexpr,
    M: tl.constexpr,
    R: tl.constexpr,
    BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """(grad / rms) weight^T - rows (grad . raw) / (K rms^2), for one block of rows and of K."""
    row_R = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    column_K = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    product_RK = tl.zeros((R, BLOCK), tl.float32)
    along_R = tl.zeros((R,), tl.float32)
    for start in range(0, M, COLUMNS):
        column_M = start + tl.arange(0, COLUMNS)
        grad_RM = _load(grad_pointer, row_R, column_M, num_rows, M, M)
        along_R += tl.sum(grad_RM * _load(raw_pointer, row_R, column_M, num_rows, M, M), 1)
        weight_KM = _load(weight_pointer, column_K, column_M, K, M, M)
        product_RK = tl.dot(grad_RM, tl.trans(weight_KM), product_RK, input_precision=PRECISION)
    inverse_R = tl.load(inverse_pointer + row_R, row_R < num_rows, 0.0)
    rows_RK = _load(rows_pointer, row_R, column_K, num_rows, K, K)
    result_RK = product_RK * inverse_R[:, None] - rows_RK * (along_R * inverse_R * inverse_R / K)[:, None]
    mask_RK = (row_R < num_rows)[:, None] & (column_K < K)[None, :]
    tl.store(grad_rows_pointer + row_R[:, None] * K + column_K[None, :], result_RK, mask_RK)


@triton.jit
def weight_gradient_kernel(
    grad_pointer,
    rows_pointer,
    inverse_pointer,
    partial_pointer,
    num_rows,
    num_blocks,
    K: tl.constexpr,
    M: tl.constexpr,
    R: tl.constexpr,
    BLOCK: tl.constexpr,
    COLUMNS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """rows^T (grad / rms), for one block of K and of columns, over `num_blocks` blocks of rows."""
    column_K = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    column_M = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    partial_KM = tl.zeros((BLOCK, COLUMNS), tl.float32)
    for block in range(num_blocks):
        row_R = (tl.program_id(2) * num_blocks + block).to(tl.int64) * R + tl.arange(0, R)
        inverse_R = tl.load(inverse_pointer + row_R, row_R < num_rows, 0.0)
        scaled_RM = _load(grad_pointer, row_R, column_M, num_rows, M, M) * inverse_R[:, None]
        rows_RK = _load(rows_pointer, row_R, column_K, num_rows, K, K)
        partial_KM = tl.dot(tl.trans(rows_RK), scaled_RM, partial_KM, input_precision=PRECISION)
    place_KM = (tl.program_id(2).to(tl.int64) * K + column_K[:, None]) * M + column_M[None, :]
    tl.store(partial_pointer + place_KM, partial_KM, (column_K < K)[:, None] & (column_M < M)[None, :])

"""Square matrices between memory and registers.

Shape suffixes: T matrices of one program, i rows and j columns. Tiles are [T, j, i], padded from N to
P, a power of two. Up to four streams each row is loaded as a tensor of its own and joined, which leaves
a whole matrix in one thread: sums over rows and columns then need no exchange between threads.
"""

import triton
import triton.language as tl


@triton.jit
def _load_entry(pointer, matrix_T, row: tl.constexpr, column: tl.constexpr, num_matrices, N: tl.constexpr):
    is_inside_T = (matrix_T < num_matrices) & (row < N) & (column < N)
    value_T = tl.load(pointer + matrix_T * (N * N) + (row * N + column), mask=is_inside_T, other=0.0)
    return value_T.to(tl.float64 if value_T.dtype == tl.float64 else tl.float32)


@triton.jit
def _load_row(pointer, matrix_T, row: tl.constexpr, num_matrices, N: tl.constexpr, P: tl.constexpr):
    """One row as [T, j], in one thread: entry by entry where three make no vector."""
    if N == 3:
        even = tl.join(
            _load_entry(pointer, matrix_T, row, 0, num_matrices, N),
            _load_entry(pointer, matrix_T, row, 2, num_matrices, N),
        )
        odd = tl.join(
            _load_entry(pointer, matrix_T, row, 1, num_matrices, N),
            _load_entry(pointer, matrix_T, row, 3, num_matrices, N),
        )
        return tl.reshape(tl.join(even, odd), (matrix_T.shape[0], P))
    column_j = tl.arange(0, P)
    is_inside_Tj = (matrix_T < num_matrices)[:, None] & (column_j < N)[None, :]
    offset_Tj = matrix_T[:, None] * (N * N) + row * N + column_j[None, :]
    value_Tj = tl.load(pointer + offset_Tj, mask=is_inside_Tj & (row < N), other=0.0)
    return value_Tj.to(tl.float64 if value_Tj.dtype == tl.float64 else tl.float32)


@triton.jit
def load_tile(pointer, matrix_T, num_matrices, N: tl.constexpr, P: tl.constexpr, TRANSPOSE: tl.constexpr):
    """Matrices as [T, j, i]. Row by row up to four streams, so that a thread holds whole matrices."""
    if P == 2:
        tile = tl.join(
            _load_row(pointer, matrix_T, 0, num_matrices, N, P),
            _load_row(pointer, matrix_T, 1, num_matrices, N, P),
        )
    elif P == 4:
        even = tl.join(
            _load_row(pointer, matrix_T, 0, num_matrices, N, P),
            _load_row(pointer, matrix_T, 2, num_matrices, N, P),
        )
        odd = tl.join(
            _load_row(pointer, matrix_T, 1, num_matrices, N, P),
            _load_row(pointer, matrix_T, 3, num_matrices, N, P),
        )
        tile = tl.reshape(tl.join(even, odd), (matrix_T.shape[0], P, P))
    else:
        row_i, column_j = tl.arange(0, P)[None, :, None], tl.arange(0, P)[None, None, :]
        is_inside = (matrix_T < num_matrices)[:, None, None] & (row_i < N) & (column_j < N)
        tile = tl.load(pointer + matrix_T[:, None, None] * (N * N) + row_i * N + column_j, is_inside, 0.0)
        tile = tl.permute(tile.to(tl.float64 if tile.dtype == tl.float64 else tl.float32), (0, 2, 1))
    if TRANSPOSE:
        tile = tl.permute(tile, (0, 2, 1))
    return tile


@triton.jit
def _store_row(pointer, matrix_T, row: tl.constexpr, value_Tj, num_matrices, N: tl.constexpr):
    column_j = tl.arange(0, value_Tj.shape[1])
    is_inside_Tj = (matrix_T < num_matrices)[:, None] & (column_j < N)[None, :]
    offset_Tj = matrix_T[:, None] * (N * N) + row * N + column_j[None, :]
    tl.store(pointer + offset_Tj, value_Tj.to(pointer.dtype.element_ty), mask=is_inside_Tj & (row < N))


@triton.jit
def store_tile(
    pointer, matrix_T, tile, num_matrices, N: tl.constexpr, P: tl.constexpr, TRANSPOSE: tl.constexpr
):
    """The inverse of `load_tile`."""
    if TRANSPOSE:
        tile = tl.permute(tile, (0, 2, 1))
    if P == 2:
        row_0, row_1 = tl.split(tile)
        _store_row(pointer, matrix_T, 0, row_0, num_matrices, N)
        _store_row(pointer, matrix_T, 1, row_1, num_matrices, N)
    elif P == 4:
        even, odd = tl.split(tl.reshape(tile, (matrix_T.shape[0], P, 2, 2)))
        row_0, row_2 = tl.split(even)
        row_1, row_3 = tl.split(odd)
        _store_row(pointer, matrix_T, 0, row_0, num_matrices, N)
        _store_row(pointer, matrix_T, 1, row_1, num_matrices, N)
        _store_row(pointer, matrix_T, 2, row_2, num_matrices, N)
        _store_row(pointer, matrix_T, 3, row_3, num_matrices, N)
    else:
        tile = tl.permute(tile, (0, 2, 1))
        row_i, column_j = tl.arange(0, P)[None, :, None], tl.arange(0, P)[None, None, :]
        is_inside = (matrix_T < num_matrices)[:, None, None] & (row_i < N) & (column_j < N)
        offset = matrix_T[:, None, None] * (N * N) + row_i * N + column_j
        tl.store(pointer + offset, tile.to(pointer.dtype.element_ty), mask=is_inside)


@triton.jit
def is_real(N: tl.constexpr, P: tl.constexpr):
    """Which entries [1, j, i] are not padding."""
    return (tl.arange(0, P) < N)[None, :, None] & (tl.arange(0, P) < N)[None, None, :]

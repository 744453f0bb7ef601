"""The steps as Triton kernels: aggregate and mix here, the projection in projection.py.

Shape suffixes: T tokens of one program, c a chunk of the width, l a thread's share of a sum. Every stream
has a tile [T, c] of its own and every coefficient a vector [T] (outputs i, inputs j): with the streams as a
third axis, Triton 3.6 summed over them through shared memory, ten times slower than the memory allows.
Streams are read and written in their own dtype, sums and coefficients are float32. A program takes all chunks
of its tokens: no sum leaves it.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from foreshock.kernels.hyper_connection.projection import project_backward, project_forward

__all__ = [
    "aggregate_backward",
    "aggregate_forward",
    "mix_backward",
    "mix_forward",
    "project_backward",
    "project_forward",
]

THREADS = 128
NUM_WARPS = THREADS // (64 if torch.version.hip else 32)


@triton.jit
def _place(num_tokens, start_c, C: tl.constexpr, T: tl.constexpr, CHUNK: tl.constexpr):
    """Tokens, columns, and which of both there are."""
    token_T = tl.program_id(0).to(tl.int64) * T + tl.arange(0, T)
    chunk_c = start_c + tl.arange(0, CHUNK)
    inside_Tc = (token_T < num_tokens)[:, None]
    if C % CHUNK != 0:
        inside_Tc = inside_Tc & (chunk_c < C)[None, :]
    return token_T, chunk_c, tl.broadcast_to(inside_Tc, (T, CHUNK))


@triton.jit
def _load(pointer, token_T, chunk_c, inside_Tc, C: tl.constexpr):
    return tl.load(pointer + token_T[:, None] * C + chunk_c[None, :], inside_Tc, 0.0).to(tl.float32)


@triton.jit
def _load_streams(pointer, token_T, chunk_c, inside_Tc, N: tl.constexpr, C: tl.constexpr):
    """The tiles [T, c] of all streams."""
    tiles = (_load(pointer, token_T * N, chunk_c, inside_Tc, C),)
    for stream in tl.static_range(1, N):
        tiles = tiles + (_load(pointer, token_T * N + stream, chunk_c, inside_Tc, C),)
    return tiles


@triton.jit
def _store(pointer, value_Tc, token_T, chunk_c, inside_Tc, C: tl.constexpr):
    tl.store(pointer + token_T[:, None] * C + chunk_c[None, :], value_Tc, inside_Tc)


@triton.jit
def _coefficients(pointer, token_T, num_tokens, NUM: tl.constexpr, ALL: tl.constexpr, STEP: tl.constexpr):
    """`NUM` of the `ALL` coefficients of a token, each [T]: from the pointer on, `STEP` apart."""
    values = (tl.load(pointer + token_T * ALL, token_T < num_tokens, 0.0),)
    for number in tl.static_range(1, NUM):
        values = values + (tl.load(pointer + token_T * ALL + number * STEP, token_T < num_tokens, 0.0),)
    return values


@triton.jit
def _store_sums(pointer, sums, token_T, num_tokens, NUM: tl.constexpr):
    """Adds up each [T, lane] and stores it as a token's coefficient."""
    for number in tl.static_range(NUM):
        tl.store(pointer + token_T * NUM + number, tl.sum(sums[number], 1), token_T < num_tokens)


@triton.jit
def _zeros(NUM: tl.constexpr, T: tl.constexpr, LANES: tl.constexpr):
    sums = (tl.zeros((T, LANES), tl.float32),)
    for _ in tl.static_range(1, NUM):
        sums = sums + (tl.zeros((T, LANES), tl.float32),)
    return sums


@triton.jit
def _by_lane(x_Tc, T: tl.constexpr, LANES: tl.constexpr):
    """Sums the neighbouring columns that one thread holds; nothing crosses threads."""
    return tl.sum(tl.reshape(x_Tc, (T, LANES, x_Tc.shape[1] // LANES)), 2)


@triton.jit
def aggregate_forward_kernel(
    x_pointer,
    pre_pointer,
    out_pointer,
    num_tokens,
    N: tl.constexpr,
    C: tl.constexpr,
    T: tl.constexpr,
    CHUNK: tl.constexpr,
    LANES: tl.constexpr,
):
    token_T, _chunk, _inside = _place(num_tokens, 0, C, T, CHUNK)
    pre = _coefficients(pre_pointer, token_T, num_tokens, N, N, 1)
    for start_c in range(0, C, CHUNK):
        token_T, chunk_c, inside_Tc = _place(num_tokens, start_c, C, T, CHUNK)
        x = _load_streams(x_pointer, token_T, chunk_c, inside_Tc, N, C)
        out_Tc = pre[0][:, None] * x[0]
        for stream in tl.static_range(1, N):
            out_Tc += pre[stream][:, None] * x[stream]
        _store(out_pointer, out_Tc, token_T, chunk_c, inside_Tc, C)


@triton.jit
def aggregate_backward_kernel(
    grad_pointer,
    x_pointer,
    pre_pointer,
    grad_x_pointer,
    grad_pre_pointer,
    num_tokens,
    width,
    N: tl.constexpr,
    C: tl.constexpr,
    T: tl.constexpr,
    CHUNK: tl.constexpr,
    LANES: tl.constexpr,
):
    token_T, _chunk, _inside = _place(num_tokens, 0, C, T, CHUNK)
    pre = _coefficients(pre_pointer, token_T, num_tokens, N, N, 1)
    sums = _zeros(N, T, LANES)
    # The end is an argument: were it a constant, LLVM would unroll the loop for AMD, into 218 registers.
    for start_c in range(0, width, CHUNK):
        token_T, chunk_c, inside_Tc = _place(num_tokens, start_c, C, T, CHUNK)
        x = _load_streams(x_pointer, token_T, chunk_c, inside_Tc, N, C)
        grad_Tc = _load(grad_pointer, token_T, chunk_c, inside_Tc, C)
        for stream in tl.static_range(N):
            sum_Tl = sums[stream] + _by_lane(x[stream] * grad_Tc, T, LANES)
            sums = sums[:stream] + (sum_Tl,) + sums[stream + 1 :]
        for stream in tl.static_range(N):
            _store(
                grad_x_pointer, pre[stream][:, None] * grad_Tc, token_T * N + stream, chunk_c, inside_Tc, C
            )
    _store_sums(grad_pre_pointer, sums, token_T, num_tokens, N)


@triton.jit
def mix_forward_kernel(
    x_pointer,
    y_pointer,
    res_pointer,
    post_pointer,
    out_pointer,
    num_tokens,
    N: tl.constexpr,
    C: tl.constexpr,
    T: tl.constexpr,
    CHUNK: tl.constexpr,
    LANES: tl.constexpr,
):
    token_T, _chunk, _inside = _place(num_tokens, 0, C, T, CHUNK)
    post = _coefficients(post_pointer, token_T, num_tokens, N, N, 1)
    if N <= 4:
        res = _coefficients(res_pointer, token_T, num_tokens, N * N, N * N, 1)
    for start_c in range(0, C, CHUNK):
        token_T, chunk_c, inside_Tc = _place(num_tokens, start_c, C, T, CHUNK)
        x = _load_streams(x_pointer, token_T, chunk_c, inside_Tc, N, C)
        y_Tc = _load(y_pointer, token_T, chunk_c, inside_Tc, C)
        for i in tl.static_range(N):
            out_Tc = post[i][:, None] * y_Tc
            if N <= 4:
                row = res[i * N : i * N + N]
            else:  # more than a thread could hold
                row = _coefficients(res_pointer + i * N, token_T, num_tokens, N, N * N, 1)
            for j in tl.static_range(N):
                out_Tc += row[j][:, None] * x[j]
            _store(out_pointer, out_Tc, token_T * N + i, chunk_c, inside_Tc, C)


@triton.jit
def mix_backward_kernel(
    grad_pointer,
    x_pointer,
    y_pointer,
    res_pointer,
    post_pointer,
    grad_x_pointer,
    grad_y_pointer,
    grad_res_pointer,
    grad_post_pointer,
    num_tokens,
    width,
    N: tl.constexpr,
    C: tl.constexpr,
    T: tl.constexpr,
    CHUNK: tl.constexpr,
    LANES: tl.constexpr,
):
    token_T, _chunk, _inside = _place(num_tokens, 0, C, T, CHUNK)
    post = _coefficients(post_pointer, token_T, num_tokens, N, N, 1)
    res_sums, post_sums = _zeros(N * N, T, LANES), _zeros(N, T, LANES)
    for start_c in range(0, width, CHUNK):
        token_T, chunk_c, inside_Tc = _place(num_tokens, start_c, C, T, CHUNK)
        grad = _load_streams(grad_pointer, token_T, chunk_c, inside_Tc, N, C)
        y_Tc = _load(y_pointer, token_T, chunk_c, inside_Tc, C)
        # All loads before the first store, behind which none is moved back
        x = _load_streams(x_pointer, token_T, chunk_c, inside_Tc, N, C)
        for i in tl.static_range(N):
            sum_Tl = post_sums[i] + _by_lane(grad[i] * y_Tc, T, LANES)
            post_sums = post_sums[:i] + (sum_Tl,) + post_sums[i + 1 :]
            for j in tl.static_range(N):
                sum_Tl = res_sums[i * N + j] + _by_lane(grad[i] * x[j], T, LANES)
                res_sums = res_sums[: i * N + j] + (sum_Tl,) + res_sums[i * N + j + 1 :]
        grad_y_Tc = post[0][:, None] * grad[0]
        for i in tl.static_range(1, N):
            grad_y_Tc += post[i][:, None] * grad[i]
        _store(grad_y_pointer, grad_y_Tc, token_T, chunk_c, inside_Tc, C)
        for j in tl.static_range(N):
            column = _coefficients(res_pointer + j, token_T, num_tokens, N, N * N, N)
            grad_x_Tc = column[0][:, None] * grad[0]
            for i in tl.static_range(1, N):
                grad_x_Tc += column[i][:, None] * grad[i]
            _store(grad_x_pointer, grad_x_Tc, token_T * N + j, chunk_c, inside_Tc, C)
    _store_sums(grad_post_pointer, post_sums, token_T, num_tokens, N)
    _store_sums(grad_res_pointer, res_sums, token_T, num_tokens, N * N)


def constants(num_streams: int, width: int, itemsize: int) -> dict[str, int]:
    """How a program is cut: a warp takes a token, a thread 16 bytes of each of its streams at a time.

    Where the width is small a warp takes more tokens. Above four streams a thread takes one number of each
    at a time: it holds n^2 sums besides.
    """
    entries = 1
    if num_streams <= 4:
        # Eight numbers of half precision would be 132 registers on AMD.
        entries = 4 if torch.version.hip else 16 // itemsize
    chunk = min(32 * entries, triton.next_power_of_2(width))
    lanes = max(1, chunk // entries)
    return {
        "N": num_streams,
        "C": width,
        "T": THREADS // lanes,
        "CHUNK": chunk,
        "LANES": lanes,
    }


def aggregate_forward(x_TnC: Tensor, pre_Tn: Tensor, out_dtype: torch.dtype) -> Tensor:
    """Returns H_pre x [T, C]."""
    out_TC = torch.empty_like(x_TnC[:, 0], dtype=out_dtype, memory_format=torch.contiguous_format)
    _launch(aggregate_forward_kernel, x_TnC, (x_TnC, pre_Tn, out_TC))
    return out_TC


def aggregate_backward(grad_TC: Tensor, x_TnC: Tensor, pre_Tn: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the gradients of x and H_pre."""
    out = torch.empty_like(x_TnC), torch.empty_like(pre_Tn)
    _launch(aggregate_backward_kernel, x_TnC, (grad_TC, x_TnC, pre_Tn, *out), width=x_TnC.shape[2])
    return out


def mix_forward(x_TnC: Tensor, y_TC: Tensor, res_Tnn: Tensor, post_Tn: Tensor) -> Tensor:
    """Returns H_res x + H_post^T y [T, n, C]."""
    out_TnC = torch.empty_like(x_TnC)
    _launch(mix_forward_kernel, x_TnC, (x_TnC, y_TC, res_Tnn, post_Tn, out_TnC))
    return out_TnC


def mix_backward(
    grad_TnC: Tensor, x_TnC: Tensor, y_TC: Tensor, res_Tnn: Tensor, post_Tn: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of x, y, H_res and H_post."""
    given = (x_TnC, y_TC, res_Tnn, post_Tn)
    x, y, res, post = (torch.empty_like(tensor) for tensor in given)
    _launch(mix_backward_kernel, x_TnC, (grad_TnC, *given, x, y, res, post), width=x_TnC.shape[2])
    return x, y, res, post


def _launch(kernel: Any, x_TnC: Tensor, tensors: tuple[Tensor, ...], **scalars: int) -> None:
    num_tokens, num_streams, width = x_TnC.shape
    if num_tokens == 0:
        return
    cut = constants(num_streams, width, x_TnC.element_size())
    kernel[(triton.cdiv(num_tokens, cut["T"]),)](*tensors, num_tokens, **scalars, **cut, num_warps=NUM_WARPS)

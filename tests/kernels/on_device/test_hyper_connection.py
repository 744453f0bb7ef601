"""The kernels of a hyper-connection against float64 autograd, at the edges, and their bytes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from tests.kernels.on_device.conftest import IS_INTERPRETED
from tests.kernels.test_hyper_connection import (
    DTYPES,
    LIGER,
    PAIRS,
    TOLERANCE,
    assert_agrees,
    inputs,
    layer_of,
    with_gradients,
)
from torch.utils.checkpoint import checkpoint

from foreshock.kernels import OptionError, use_backend
from foreshock.kernels.hyper_connection import Form, aggregate, operators, projection, splitting
from foreshock.kernels.hyper_connection import triton as kernels

FORMS: tuple[Form, ...] = ("mhc", "hc")
# The interpreter takes its time over large streams: those of many entries wait for the full grid.
SMALL = [case for case in PAIRS if case[0] * case[1] * case[2] <= 30_000]
EVERYDAY = [*SMALL, *LIGER, (4, 29, 100, torch.bfloat16), (8, 5, 64, torch.bfloat16)]


def check_case(n: int, tokens: int, width: int, dtype: torch.dtype, form: Form, device: torch.device) -> None:
    given = inputs(n, tokens, width, dtype, form)
    with use_backend("reference"):
        expected = with_gradients(partial(layer_of, form=form), given, torch.float64)
    found = with_gradients(partial(layer_of, form=form), [tensor.to(device) for tensor in given])
    # Tensor cores cut off the sums that they carry: 4.2e-5 of the largest at most on an H100, over K = 5120
    allowed = TOLERANCE[dtype] if IS_INTERPRETED else max(6e-5, TOLERANCE[dtype])
    assert_agrees([tensor.cpu() for tensor in found], expected, allowed)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("n", "tokens", "width", "dtype"), EVERYDAY)
def test_values_and_gradients_are_those_of_float64(
    n: int, tokens: int, width: int, dtype: torch.dtype, form: Form, device: torch.device
) -> None:
    check_case(n, tokens, width, dtype, form, device)


@pytest.mark.grid
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [64, 100, 1280])
@pytest.mark.parametrize("tokens", [1, 63, 100])
@pytest.mark.parametrize("n", range(1, 9))
def test_the_full_grid(
    n: int, tokens: int, width: int, dtype: torch.dtype, form: Form, device: torch.device
) -> None:
    check_case(n, tokens, width, dtype, form, device)


@pytest.mark.grid
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tokens", [512, 1000])
def test_many_tokens(tokens: int, dtype: torch.dtype, form: Form, device: torch.device) -> None:
    """Of two sequences, so 1024 and 2000 in all."""
    check_case(4, tokens, 64, dtype, form, device)


def test_no_tokens_and_any_memory_order(device: torch.device) -> None:
    assert layer_of(*(tensor.to(device) for tensor in inputs(4, 0, 16))).shape == (2, 0, 4, 16)
    x, *parameters = (tensor.to(device) for tensor in inputs(3, 5, 10))
    strided = x.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0)
    assert torch.equal(layer_of(strided, *parameters), layer_of(x, *parameters))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_bad_number_stays_in_its_token(bad: float, device: torch.device) -> None:
    x, *parameters = inputs(4, 9, 12)
    spoilt = x.clone()
    spoilt[1, 3, 2, 5] = bad
    clean, found = (
        with_gradients(layer_of, [tensor.to(device) for tensor in (t, *parameters)])[:2] for t in (x, spoilt)
    )
    others = torch.ones(2, 9, dtype=torch.bool)
    others[1, 3] = False
    for one, other in zip(found, clean, strict=True):
        assert torch.equal(one.cpu()[others], other.cpu()[others])
        assert not one[1, 3].isfinite().all()


def test_operators_pass_opcheck_and_survive_checkpointing(device: torch.device) -> None:
    x, phi, bias, gates = (tensor.to(device) for tensor in inputs(4, 3, 8))
    y, pre, res = x[..., 0, :].clone(), x[..., 0].clone(), x[..., :4].clone()
    leaves = [tensor.detach().requires_grad_() for tensor in (x, phi, y, pre, res)]
    torch.library.opcheck(operators.project, (leaves[0], leaves[1], "triton"))
    torch.library.opcheck(operators.aggregate, (leaves[0], leaves[3], torch.float32, "triton"))
    torch.library.opcheck(operators.mix, (leaves[0], leaves[2], leaves[4], leaves[3], "triton"))
    again = with_gradients(lambda *t: checkpoint(layer_of, *t, use_reentrant=False), [x, phi, bias, gates])
    for one, other in zip(again, with_gradients(layer_of, [x, phi, bias, gates]), strict=True):
        assert torch.equal(one, other)


def test_float64_is_refused_in_words(device: torch.device) -> None:
    x = torch.zeros(1, 4, 8, dtype=torch.float64, device=device)
    with pytest.raises(OptionError, match=r"torch\.float64 with backend 'triton'; give torch\.float32"):
        aggregate(x, torch.ones(1, 4, dtype=torch.float64, device=device))


@pytest.mark.skipif(not IS_INTERPRETED, reason="bytes are counted by the interpreter")
@pytest.mark.parametrize("itemsize", [4, 2])
def test_the_bytes_are_those_of_the_readmes_table(itemsize: int) -> None:
    from tests.kernels.triton_harness.traffic import counted

    tokens, n, C = 32, 4, 96
    dtype = torch.float32 if itemsize == 4 else torch.float16
    x, g = torch.zeros(2, tokens, n, C, dtype=dtype)
    y, pre, res = x[:, 0].clone(), torch.zeros(tokens, n), torch.zeros(tokens, n, n)
    stream, one, few = tokens * n * C * itemsize, tokens * C * itemsize, tokens * 4
    expected: list[tuple[Callable[[], Any], int, int]] = [
        (lambda: kernels.aggregate_forward(x, pre, dtype), stream + n * few, one),
        (lambda: kernels.aggregate_backward(y, x, pre), stream + one + n * few, stream + n * few),
        (lambda: kernels.mix_forward(x, y, res, pre), stream + one + (n * n + n) * few, stream),
        (
            lambda: kernels.mix_backward(g, x, y, res, pre),
            2 * stream + one + (n * n + n) * few,
            stream + one + (n * n + n) * few,
        ),
    ]
    for launch, loaded, stored in expected:
        with counted() as traffic:
            launch()
        assert (traffic.loaded_bytes, traffic.stored_bytes) == (loaded, stored)


@pytest.mark.skipif(not IS_INTERPRETED, reason="bytes are counted by the interpreter")
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_projection_reads_the_streams_once_each_way(dtype: torch.dtype) -> None:
    from tests.kernels.triton_harness.traffic import counted

    R, K, M = 32, 128, 24
    rows, weight = torch.zeros(R, K, dtype=dtype), torch.zeros(K, M)
    raw, inverse = torch.zeros(R, M), torch.ones(R)
    stream = R * K * dtype.itemsize
    # A weight of four bytes is two of four, or three of two beside bfloat16.
    parts_bytes = 6 if dtype == torch.bfloat16 else 8
    with counted() as forward:
        projection.project_forward(rows, weight)
    # One block of rows, so the weight is read once.
    assert forward.loaded_bytes == stream + K * M * parts_bytes
    assert forward.stored_bytes == R * M * 4 + R * 4
    with counted() as backward:
        projection.project_backward(raw, rows, weight, raw, inverse)
    scaled = R * M * parts_bytes + R * 4
    two_parts = 4 if dtype == torch.bfloat16 else 8
    # The weight's gradient leaves in one part for each block of rows here, at most 32 parts in all.
    num_splits = 1 if dtype == torch.bfloat16 else 2
    small = R * M * 8 + R * 4 + K // 64 * scaled
    assert backward.loaded_bytes == stream + num_splits * K * M * two_parts + small
    assert backward.stored_bytes == stream + scaled + num_splits * K * M * 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_parts_of_a_weight_are_the_weight(dtype: torch.dtype) -> None:
    weight = torch.randn(64, 24, generator=torch.Generator().manual_seed(0)) * 10 ** torch.linspace(-6, 6, 24)
    parts = splitting.parts_of(weight, dtype)
    assert parts.dtype == splitting.part_dtype(dtype)
    assert torch.equal(parts.double().sum(0).float(), weight)
    if dtype != torch.bfloat16:
        # tf32 stores 10 bits after the first.
        assert not (parts[0].view(torch.int32) & 0x1FFF).any()

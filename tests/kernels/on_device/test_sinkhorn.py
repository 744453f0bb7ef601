"""Fused Sinkhorn against float64 autograd through the unrolled loop, and at the edges.

Cotangents are random: the sum over a result is n, always, so that an all-ones cotangent has gradient 0.
"""

from typing import Any

import pytest
import torch
from tests.kernels.on_device.conftest import IS_INTERPRETED
from tests.kernels.triton_harness.pairwise import Case, full, label, pairwise
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from foreshock.kernels import Convention, sinkhorn, use_backend
from foreshock.kernels.sinkhorn_knopp import operator, reference

CONVENTIONS: tuple[Convention, ...] = ("paper", "rows_first", "v4")
# rtol, atol of values and gradients. The half types are computed in float32 and rounded once (which
# Triton's interpreter does to bfloat16 by cutting off: hence a whole last digit).
TOLERANCES = {
    torch.float64: (1e-8, 1e-8),
    torch.float32: (1e-4, 3e-6),
    torch.bfloat16: (2**-7, 1e-4),
    torch.float16: (2**-11, 1e-5),
}
CHOICES: dict[str, list[Any]] = {
    "num_tokens": [1, 63, 100, 1024, 2000],
    "num_streams": [4, 2, 3, 5, 8],
    "scale": [1.0, 4.0, 6.0, 8.0],
    "dtype": list(TOLERANCES),
    "convention": list(CONVENTIONS),
    "num_iterations": [20, 1, 2, 3, 7],
}
# The interpreter takes its time over many tokens: the everyday run has 1024 and 4200 of them once each.
EVERYDAY = {**CHOICES, "num_tokens": [1, 63, 100]}
AT_FOUR_STREAMS = {**CHOICES, "num_streams": [4], "num_iterations": [20]}
AT_EVERY_SIZE = {**CHOICES, "num_tokens": [63], "scale": [6.0]}


def random_matrices(*shape: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) * scale


def truth(logits: Tensor, cotangent: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """Value and gradient in float64, through the unrolled loop."""
    logits = logits.detach().cpu().double().requires_grad_()
    result = reference.sinkhorn(logits, **options)
    (gradient,) = torch.autograd.grad(result, logits, cotangent.cpu().double())
    return result.detach(), gradient


def found(logits: Tensor, cotangent: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    logits = logits.detach().requires_grad_()
    result = sinkhorn(logits, **options)
    (gradient,) = torch.autograd.grad(result, logits, cotangent)
    assert result.dtype == gradient.dtype == logits.dtype
    return result.detach().cpu().double(), gradient.cpu().double()


def check(logits: Tensor, cotangent: Tensor, *, rtol: float, atol: float, **options: Any) -> None:
    names = ("value", "gradient")
    both = zip(names, found(logits, cotangent, **options), truth(logits, cotangent, **options), strict=True)
    for name, mine, true in both:
        torch.testing.assert_close(mine, true, rtol=rtol, atol=atol, msg=lambda text, n=name: f"{n}: {text}")


def check_case(case: Case, device: torch.device) -> None:
    shape = (case["num_tokens"], case["num_streams"], case["num_streams"])
    logits = random_matrices(*shape, scale=case["scale"]).to(device, case["dtype"])
    cotangent = random_matrices(*shape, seed=1).to(device, case["dtype"])
    rtol, atol = TOLERANCES[case["dtype"]]
    options = {name: case[name] for name in ("convention", "num_iterations")}
    check(logits, cotangent, rtol=rtol, atol=atol, **options)


@pytest.mark.parametrize("case", pairwise(EVERYDAY), ids=label)
def test_values_and_gradients_are_those_of_float64(case: Case, device: torch.device) -> None:
    check_case(case, device)


@pytest.mark.grid
@pytest.mark.parametrize("num_tokens", [1024, 2000])
def test_many_tokens(num_tokens: int, device: torch.device) -> None:
    check_case(
        {
            "num_tokens": num_tokens,
            "num_streams": 4,
            "scale": 6.0,
            "dtype": torch.float32,
            "convention": "paper",
            "num_iterations": 20,
        },
        device,
    )


@pytest.mark.grid
@pytest.mark.parametrize("case", full(AT_FOUR_STREAMS) + full(AT_EVERY_SIZE), ids=label)
def test_the_full_grid(case: Case, device: torch.device) -> None:
    check_case(case, device)


@pytest.mark.parametrize("num_streams", [1, 6, 7])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_other_sizes(num_streams: int, convention: Convention, device: torch.device) -> None:
    logits = random_matrices(9, num_streams, num_streams, scale=4.0).float().to(device)
    cotangent = random_matrices(9, num_streams, num_streams, seed=1).float().to(device)
    check(logits, cotangent, rtol=1e-4, atol=3e-6, num_iterations=6, convention=convention)


@pytest.mark.parametrize("num_iterations", [6, 11, 12, 50])
@pytest.mark.parametrize("scale", [5.0, 60.0])
def test_every_cut_into_segments(num_iterations: int, scale: float, device: torch.device) -> None:
    logits = random_matrices(5, 4, 4, scale=scale).to(device)
    cotangent = random_matrices(5, 4, 4, seed=1).to(device)
    check(logits, cotangent, rtol=1e-8, atol=1e-10, num_iterations=num_iterations)


# TileKernels' own table.
@pytest.mark.parametrize("batch", [1, pytest.param(2, marks=pytest.mark.grid)])
@pytest.mark.parametrize("num_tokens", [1, 1024, pytest.param(4096, marks=pytest.mark.grid)])
def test_the_table_of_tilekernels(batch: int, num_tokens: int, device: torch.device) -> None:
    logits = random_matrices(batch, num_tokens, 4, 4).float().to(device)
    cotangent = random_matrices(batch, num_tokens, 4, 4, seed=1).float().to(device)
    check(logits, cotangent, rtol=1.3e-6, atol=1e-5, num_iterations=10, convention="v4")


# The shapes (B, T, HC) of Liger's table, with tolerances tighter than its own.
@pytest.mark.parametrize("shape", [(2, 4, 2, 2), (1, 8, 4, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_table_of_liger(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    logits, cotangent = (
        random_matrices(*shape).to(device, dtype),
        random_matrices(*shape, seed=1).to(device, dtype),
    )
    rtol, atol = TOLERANCES[dtype]
    check(logits, cotangent, rtol=rtol, atol=atol, num_iterations=10, convention="v4")


def adversaries() -> Tensor:
    """A range of 160 nats, a dominant entry, empty lines, nothing at all, and single zeros, in turn."""
    logits = random_matrices(8, 4, 4)
    logits[0, 2] = -160.0
    logits[1, :, 1] -= 160.0
    logits[2, 3, 0] = 60.0
    logits[3, 1] = -torch.inf
    logits[4, :, 2] = -torch.inf
    logits[5] = -torch.inf
    logits[6, 0, 3] = -torch.inf
    logits[7] *= 100.0
    return logits


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adversaries(convention: Convention, dtype: torch.dtype, device: torch.device) -> None:
    logits, cotangent = adversaries().to(device, dtype), random_matrices(8, 4, 4, seed=1).to(device, dtype)
    rtol, atol = (1e-3, 2e-5) if dtype == torch.float32 else (1e-8, 1e-8)
    check(logits, cotangent, rtol=rtol, atol=atol, convention=convention)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("num_streams", [4, 8])
def test_a_bad_token_stays_alone(
    bad: float, convention: Convention, num_streams: int, device: torch.device
) -> None:
    logits = random_matrices(20, num_streams, num_streams).float().to(device)
    cotangent = random_matrices(20, num_streams, num_streams, seed=1).float().to(device)
    others = [i for i in range(20) if i != 13]
    clean = found(logits, cotangent, convention=convention)
    logits[13, 1, 0] = bad
    dirty = found(logits, cotangent, convention=convention)
    for before, after in zip(clean, dirty, strict=True):
        assert after[13].isnan().any()
        torch.testing.assert_close(after[others], before[others], rtol=1e-5, atol=1e-6)
        assert torch.isfinite(after[others]).all()


def test_strides_do_not_matter(device: torch.device) -> None:
    wide = random_matrices(6, 4, 7, 8, seed=2).float().to(device)
    logits = wide[::2, :, 1:5, ::2].mT.transpose(0, 1)
    cotangent = random_matrices(4, 4, 3, 4, seed=3).float().to(device).transpose(1, 2)[:, :, :, :]
    cotangent = cotangent.reshape(4, 3, 4, 4).expand_as(logits)
    assert not logits.is_contiguous()
    check(logits, cotangent, rtol=1e-4, atol=3e-6)
    check(logits[:1], cotangent[:1, :1, :1, :1].expand_as(logits[:1]), rtol=1e-4, atol=3e-6)


@pytest.mark.parametrize("shape", [(0, 4, 4), (3, 0, 2, 2)])
def test_no_tokens_at_all(shape: tuple[int, ...], device: torch.device) -> None:
    logits = torch.zeros(shape, device=device, requires_grad=True)
    result, statistics = sinkhorn(logits, return_statistics=True)
    result.sum().backward()
    assert result.shape == shape
    assert statistics.row_error_mean.isnan()


@pytest.mark.parametrize(
    ("num_tokens", "num_streams", "convention"),
    [
        *((*size, one) for size in [(1, 4), (130, 4), (70, 3), (33, 8), (5, 1)] for one in CONVENTIONS),
        (4200, 4, "paper"),
        *(pytest.param(4200, 4, one, marks=pytest.mark.grid) for one in CONVENTIONS[1:]),
    ],
)
def test_statistics_are_those_of_a_pass_of_their_own(
    convention: Convention, num_tokens: int, num_streams: int, device: torch.device
) -> None:
    logits = random_matrices(num_tokens, num_streams, num_streams, scale=6.0).float().to(device)
    options: dict[str, Any] = {"convention": convention, "num_iterations": 3}
    plain = sinkhorn(logits, **options)
    result, mine = sinkhorn(logits, return_statistics=True, **options)
    with use_backend("reference"):
        _, true = sinkhorn(logits, return_statistics=True, **options)
    assert torch.equal(result, plain)
    torch.testing.assert_close(mine.values, true.values, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("num_streams", [3, 4, 5])
def test_statistics_do_not_hide_a_bad_token(num_streams: int, device: torch.device) -> None:
    logits = random_matrices(200, num_streams, num_streams).float().to(device)
    logits[150, 0, 0] = torch.nan
    _, statistics = sinkhorn(logits, return_statistics=True)
    assert statistics.values.isnan().all()


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("return_statistics", [False, True])
def test_the_operators_pass_opcheck(
    convention: Convention, return_statistics: bool, device: torch.device
) -> None:
    logits = random_matrices(3, 5, 4, 4).float().to(device)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    arguments = (logits.clone().requires_grad_(), 3, convention, return_statistics, "triton")
    torch.library.opcheck(operator.sinkhorn_forward, arguments, test_utils=tests)
    torch.library.opcheck(
        operator.sinkhorn_backward, (logits, logits.cos(), 3, convention, "triton"), test_utils=tests
    )


def test_compiled_without_a_graph_break_and_under_checkpointing(device: torch.device) -> None:
    logits = random_matrices(6, 4, 4, scale=4.0).float().to(device).requires_grad_()
    cotangent = random_matrices(6, 4, 4, seed=1).float().to(device)

    def step(logits: Tensor) -> tuple[Tensor, Tensor]:
        result, statistics = sinkhorn(logits * 2.0, num_iterations=3, return_statistics=True)
        return result, statistics.column_error_max

    plain, error = step(logits)
    (gradient,) = torch.autograd.grad(plain, logits, cotangent)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    again, error_again = compiled(logits)
    torch.testing.assert_close(again, plain)
    torch.testing.assert_close(error_again, error)
    torch.testing.assert_close(torch.autograd.grad(again, logits, cotangent)[0], gradient)
    kept: Any = checkpoint(step, logits, use_reentrant=False)
    torch.testing.assert_close(torch.autograd.grad(kept[0], logits, cotangent)[0], gradient)


@pytest.mark.skipif(not IS_INTERPRETED, reason="bytes are counted by the interpreter")
@pytest.mark.parametrize("num_tokens", [64, 100])
def test_the_bytes_are_those_of_the_table(num_tokens: int) -> None:
    from tests.kernels.triton_harness.traffic import counted

    logits, cotangent = random_matrices(num_tokens, 4, 4).float(), random_matrices(num_tokens, 4, 4).float()
    with counted() as forward:
        operator.sinkhorn_forward(logits, 20, "paper", False, "triton")
    assert (forward.loaded_bytes, forward.stored_bytes) == (64 * num_tokens, 64 * num_tokens)
    with counted() as backward:
        operator.sinkhorn_backward(logits, cotangent, 20, "paper", "triton")
    assert (backward.loaded_bytes, backward.stored_bytes) == (128 * num_tokens, 64 * num_tokens)
    with counted() as watched:
        operator.sinkhorn_forward(logits, 20, "paper", True, "triton")
    num_programs = -(-num_tokens // 64)
    # Each program's ten numbers are written once, and read once by the last program to finish.
    assert watched.loaded_bytes == forward.loaded_bytes + num_programs * 5 * 2 * 4
    assert watched.stored_bytes == forward.stored_bytes + (num_programs + 1) * 5 * 2 * 4

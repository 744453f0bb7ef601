"""Sinkhorn on CPUs against an exp-domain loop in float64 NumPy, and at the edges where that loop dies."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from foreshock.kernels import Convention, OptionError, ShapeError, sinkhorn, use_backend
from foreshock.kernels.sinkhorn_knopp import operator

CONVENTIONS: tuple[Convention, ...] = ("paper", "rows_first", "v4")


def exp_domain(logits: NDArray[np.float64], num_iterations: int, convention: str) -> NDArray[np.float64]:
    """The textbook loop on one matrix, written from the papers' formulas."""
    if convention == "v4":
        eps = 1e-6
        m = np.exp(logits - logits.max(1, keepdims=True))
        m = m / m.sum(1, keepdims=True) + eps
        m = m / (m.sum(0, keepdims=True) + eps)
        for _ in range(num_iterations - 1):
            m = m / (m.sum(1, keepdims=True) + eps)
            m = m / (m.sum(0, keepdims=True) + eps)
        return m
    m = np.exp(logits)
    for _ in range(num_iterations):
        for axis in (0, 1) if convention == "paper" else (1, 0):
            m = m / m.sum(axis, keepdims=True)
    return m


def random_logits(*shape: int, scale: float = 3.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("num_streams", [2, 3, 4, 8])
@pytest.mark.parametrize("num_iterations", [1, 3, 20])
def test_it_agrees_with_the_textbook_loop(
    convention: Convention, num_streams: int, num_iterations: int
) -> None:
    logits = random_logits(5, num_streams, num_streams)
    result = sinkhorn(logits, num_iterations=num_iterations, convention=convention)
    for given_one, found in zip(logits.numpy(), result.numpy(), strict=True):
        np.testing.assert_allclose(found, exp_domain(given_one, num_iterations, convention), rtol=1e-12)


def test_each_convention_leaves_its_own_axis_exact() -> None:
    logits = random_logits(1000, 4, 4, scale=6.0).float()
    paper = sinkhorn(logits, num_iterations=3)
    rows_first = sinkhorn(logits, num_iterations=3, convention="rows_first")
    torch.testing.assert_close(paper.sum(-1), torch.ones(1000, 4), rtol=0, atol=1e-6)
    torch.testing.assert_close(rows_first.sum(-2), torch.ones(1000, 4), rtol=0, atol=1e-6)
    assert (paper.sum(-2) - 1).abs().max() > 0.1
    torch.testing.assert_close(rows_first, sinkhorn(logits.mT, num_iterations=3).mT)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_gradients_are_those_of_finite_differences(convention: Convention) -> None:
    logits = random_logits(2, 4, 4, scale=5.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: sinkhorn(z, num_iterations=4, convention=convention), logits)


def with_gradient(logits: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """Result and gradient under a random cotangent (one of ones has gradient 0: the sum is n, always)."""
    leaf = logits.detach().requires_grad_()
    result = sinkhorn(leaf, **options)
    cotangent = random_logits(*logits.shape, scale=1.0, seed=1).bfloat16().to(logits.dtype)
    return result.detach(), torch.autograd.grad(result, leaf, cotangent)[0]


def by_reference(logits: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    with use_backend("reference"):
        return with_gradient(logits.double(), **options)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("scale", [1.0, 4.0, 6.0, 8.0])
@pytest.mark.parametrize("num_iterations", [1, 3, 20])
@pytest.mark.parametrize("num_streams", [2, 4, 7])
def test_float32_and_its_exact_gradient_are_those_of_float64(
    convention: Convention, scale: float, num_iterations: int, num_streams: int
) -> None:
    logits = random_logits(100, num_streams, num_streams, scale=scale).float()
    options: dict[str, Any] = {"num_iterations": num_iterations, "convention": convention}
    found, expected = with_gradient(logits, **options), by_reference(logits, **options)
    for mine, true in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.double(), true, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_computed_in_float32_and_rounded_once(
    convention: Convention, dtype: torch.dtype
) -> None:
    logits = random_logits(50, 4, 4, scale=4.0).to(dtype)
    found = with_gradient(logits, convention=convention)
    for mine, true in zip(found, by_reference(logits, convention=convention), strict=True):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.double(), true, rtol=torch.finfo(dtype).eps, atol=2e-5)


def adversaries() -> Tensor:
    """A range of 160 nats, a dominant entry, empty lines, nothing at all, single zeros, huge logits."""
    logits = random_logits(9, 4, 4, scale=1.0)
    logits[1, 2] = -160.0
    logits[2, 3, 0] = 60.0
    logits[3, 1] = -torch.inf
    logits[4, :, 2] = -torch.inf
    logits[5] = -torch.inf
    logits[6, 0, 3] = -torch.inf
    logits[7] *= 100.0
    logits[8, 1, 1] = torch.nan
    return logits


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_adversaries_are_right_and_leave_the_others_alone(convention: Convention) -> None:
    logits = adversaries()
    found = with_gradient(logits.float(), convention=convention)
    expected = by_reference(logits.float(), convention=convention)
    alone = with_gradient(logits[:1].float(), convention=convention)
    for mine, true, first in zip(found, expected, alone, strict=True):
        torch.testing.assert_close(mine.double(), true, rtol=1e-3, atol=2e-5, equal_nan=True)
        assert torch.equal(mine[0], first[0])


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("range_nats", [59.9, 60.1])
@pytest.mark.parametrize("num_streams", [2, 4, 8])
def test_two_valued_logits_are_right_on_both_sides_of_the_change_of_path(
    convention: Convention, range_nats: float, num_streams: int
) -> None:
    logits = (random_logits(500, num_streams, num_streams) > 0.5).float() * range_nats
    found = with_gradient(logits, convention=convention)
    for mine, true in zip(found, by_reference(logits, convention=convention), strict=True):
        torch.testing.assert_close(mine.double(), true, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("shape", [(4, 4), (3, 5, 4, 4), (7, 3, 3), (6, 1, 1)])
def test_statistics_are_those_of_the_definitions(convention: Convention, shape: tuple[int, ...]) -> None:
    logits = random_logits(*shape, scale=6.0)
    result, statistics = sinkhorn(logits, num_iterations=2, convention=convention, return_statistics=True)
    assert torch.equal(result, sinkhorn(logits, num_iterations=2, convention=convention))
    matrices, given_ones = (t.reshape(-1, *shape[-2:]).numpy() for t in (result, logits))
    per_matrix = {
        "row_error": abs(matrices.sum(2) - 1).max(1),
        "column_error": abs(matrices.sum(1) - 1).max(1),
        "amax_forward": abs(matrices.sum(2)).max(1),
        "amax_backward": abs(matrices.sum(1)).max(1),
        "logit_range": given_ones.max((1, 2)) - given_ones.min((1, 2)),
    }
    for name, values in per_matrix.items():
        assert getattr(statistics, f"{name}_mean").item() == pytest.approx(
            values.mean(), rel=1e-6, abs=1e-6
        ), name
        assert getattr(statistics, f"{name}_max").item() == pytest.approx(values.max(), rel=1e-6, abs=1e-6), (
            name
        )


def test_statistics_do_not_hide_a_bad_matrix_and_have_no_gradient() -> None:
    logits = random_logits(5, 4, 4).requires_grad_()
    bad = logits.detach().clone()
    bad[3, 0, 0] = torch.nan
    assert not sinkhorn(logits, return_statistics=True)[1].row_error_max.requires_grad
    statistics = sinkhorn(bad, return_statistics=True)[1]
    assert statistics.values.isnan().all()


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("return_statistics", [False, True])
def test_the_operators_pass_opcheck(convention: Convention, return_statistics: bool) -> None:
    logits = random_logits(3, 5, 4, 4).float()
    arguments = (logits.clone().requires_grad_(), 3, convention, return_statistics, "cpu")
    torch.library.opcheck(operator.sinkhorn_forward, arguments)
    torch.library.opcheck(operator.sinkhorn_backward, (logits, logits.cos(), 3, convention, "cpu"))


def test_compiling_breaks_no_graph_and_checkpointing_changes_no_bit() -> None:
    logits = random_logits(6, 4, 4).float()
    compiled = torch.compile(lambda z: sinkhorn(z * 2.0), fullgraph=True, backend="aot_eager")
    leaf, again = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    plain = sinkhorn(leaf * 2.0)
    cotangent = logits.cos()
    assert torch.equal(compiled(again), plain)
    kept: Any = checkpoint(lambda z: sinkhorn(z * 2.0), again, use_reentrant=False)
    gradients = [torch.autograd.grad(y, z, cotangent)[0] for y, z in ((plain, leaf), (kept, again))]
    assert torch.equal(*gradients)
    torch.testing.assert_close(torch.autograd.grad(compiled(again), again, cotangent)[0], gradients[0])


def test_strides_do_not_matter() -> None:
    wide = random_logits(6, 4, 7, 8).float()
    logits = wide[::2, :, 1:5, ::2].mT.transpose(0, 1)
    assert not logits.is_contiguous()
    for strided, plain in zip(with_gradient(logits), with_gradient(logits.contiguous()), strict=True):
        assert torch.equal(strided, plain)
    expanded = logits[:1, :1].expand(4, 3, 4, 4)
    torch.testing.assert_close(sinkhorn(expanded), sinkhorn(expanded.contiguous()))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_one_stream_is_exactly_one_with_no_gradient(convention: Convention) -> None:
    logits = torch.tensor([3.7, -80.0, -torch.inf, 1e30]).reshape(4, 1, 1).requires_grad_()
    result = sinkhorn(logits, convention=convention)
    (gradient,) = torch.autograd.grad(result, logits, torch.tensor([2.0, -3.0, 5.0, 7.0]).reshape(4, 1, 1))
    assert torch.equal(result, torch.ones(4, 1, 1))
    assert torch.equal(gradient, torch.zeros(4, 1, 1))


def test_wide_ranges_keep_their_digits() -> None:
    logits = torch.zeros(4, 4)
    logits[2] = -160.0
    torch.testing.assert_close(sinkhorn(logits), torch.full((4, 4), 0.25))
    wide = random_logits(50, 4, 4, scale=60.0)
    torch.testing.assert_close(sinkhorn(wide.float()).double(), sinkhorn(wide), rtol=5e-3, atol=1e-5)


@pytest.mark.parametrize("line", ["row", "column"])
def test_a_line_wholly_at_minus_infinity_is_one_of_equal_logits_far_below(line: str) -> None:
    logits = random_logits(4, 4)
    far = logits.clone()
    (logits if line == "row" else logits.mT)[1] = -torch.inf
    (far if line == "row" else far.mT)[1] = -150.0
    logits.requires_grad_()
    result = sinkhorn(logits)
    torch.testing.assert_close(result, sinkhorn(far), rtol=1e-10, atol=1e-12)
    (gradient,) = torch.autograd.grad(result, logits, random_logits(4, 4, seed=1))
    assert gradient.isfinite().all()


def test_an_empty_matrix_is_uniform_and_single_zeros_stay() -> None:
    assert torch.equal(sinkhorn(torch.full((4, 4), -torch.inf)), torch.full((4, 4), 0.25))
    logits = random_logits(4, 4).float()
    logits[0, 3] = -torch.inf
    result = sinkhorn(logits, num_iterations=200)
    assert result[0, 3] == 0.0
    torch.testing.assert_close(result.sum(0), torch.ones(4), rtol=0, atol=1e-4)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_bad_entry_stays_in_its_own_matrix(bad: float, convention: Convention) -> None:
    logits = random_logits(3, 4, 4)
    clean = sinkhorn(logits, convention=convention)
    logits[1, 2, 0] = bad
    result = sinkhorn(logits, convention=convention)
    assert torch.equal(result[[0, 2]], clean[[0, 2]])
    assert result[1].isnan().any()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 8), st.integers(0, 10_000), st.floats(0.0, 8.0))
def test_results_are_nonnegative_with_exact_rows(num_streams: int, seed: int, scale: float) -> None:
    result = sinkhorn(random_logits(3, num_streams, num_streams, scale=scale, seed=seed))
    assert (result >= 0).all()
    torch.testing.assert_close(result.sum(-1), torch.ones(3, num_streams, dtype=torch.float64))


def test_leading_shapes_are_kept() -> None:
    assert sinkhorn(torch.zeros(2, 3, 5, 4, 4)).shape == (2, 3, 5, 4, 4)
    assert sinkhorn(torch.zeros(0, 4, 4)).shape == (0, 4, 4)


@pytest.mark.parametrize(
    ("logits", "options", "error", "words"),
    [
        (torch.zeros(4), {}, ShapeError, r"\[4\]"),
        (torch.zeros(3, 4), {}, ShapeError, r"\[3, 4\].*equal"),
        (torch.zeros(9, 9), {}, ShapeError, "1 to 8"),
        (torch.zeros(0, 0), {}, ShapeError, "1 to 8"),
        (torch.zeros(4, 4, dtype=torch.int64), {}, OptionError, "floating-point"),
        (torch.zeros(4, 4, dtype=torch.float8_e4m3fn), {}, OptionError, "torch.float8_e4m3fn"),
        (np.zeros((4, 4)), {}, OptionError, "logits of type ndarray; give a torch.Tensor"),
        (torch.zeros(4, 4), {"num_iterations": 0}, OptionError, "num_iterations=0.*from 1 on"),
        (torch.zeros(4, 4), {"num_iterations": 2.5}, OptionError, r"num_iterations=2\.5.*whole number"),
        (torch.zeros(4, 4), {"num_iterations": True}, OptionError, "num_iterations=True"),
        (torch.zeros(4, 4), {"convention": "v5"}, OptionError, "'v5'.*paper, rows_first, v4"),
    ],
)
def test_bad_input_is_told_with_what_is_allowed(
    logits: torch.Tensor, options: dict[str, int], error: type[ValueError], words: str
) -> None:
    with pytest.raises(error, match=words):
        sinkhorn(logits, **options)  # type: ignore[arg-type]

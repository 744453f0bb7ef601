"""Sinkhorn against an exp-domain loop in float64 NumPy, and at the edges where that loop dies."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foreshock.kernels import Convention, OptionError, ShapeError, sinkhorn


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


@pytest.mark.parametrize("convention", ["paper", "rows_first", "v4"])
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


@pytest.mark.parametrize("convention", ["paper", "rows_first", "v4"])
def test_gradients_are_those_of_finite_differences(convention: Convention) -> None:
    logits = random_logits(2, 4, 4, scale=5.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: sinkhorn(z, num_iterations=4, convention=convention), logits)


@pytest.mark.parametrize("convention", ["paper", "rows_first", "v4"])
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
@pytest.mark.parametrize("convention", ["paper", "rows_first", "v4"])
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
        (torch.zeros(4, 4), {"num_iterations": 0}, OptionError, "num_iterations=0.*1 or more"),
        (torch.zeros(4, 4), {"convention": "v5"}, OptionError, "'v5'.*paper, rows_first, v4"),
    ],
)
def test_bad_input_is_told_with_what_is_allowed(
    logits: torch.Tensor, options: dict[str, int], error: type[ValueError], words: str
) -> None:
    with pytest.raises(error, match=words):
        sinkhorn(logits, **options)  # type: ignore[arg-type]

"""Gains against products of Python integers' kind: plain float64 loops with logarithms carried by hand."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from foreshock.kernels import ShapeError, composite_gains, layer_gains, norm_two

Matrix = NDArray[np.float64]


def random_matrices(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    """Asymmetric matrices of both signs."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) * scale


def amax_forward(m: Matrix) -> float:
    return max(abs(sum(row)) for row in m.tolist())


def norm_inf(m: Matrix) -> float:
    return max(sum(abs(entry) for entry in row) for row in m.tolist())


def row_error(m: Matrix) -> float:
    return max(abs(sum(row) - 1.0) for row in m.tolist())


def largest_singular_value(m: Matrix) -> float:
    return float(np.linalg.svd(m, compute_uv=False)[0])


def relative_error(found: torch.Tensor, true: torch.Tensor) -> float:
    return float(((found.double() - true) / true).abs().max())


def test_one_layer_agrees_with_the_definitions() -> None:
    H_Tnn = random_matrices(40, 4, 4)
    gains = layer_gains(H_Tnn)
    for token, m in enumerate(H_Tnn.numpy()):
        expected = {
            "amax_forward": amax_forward(m),
            "amax_backward": amax_forward(m.T),
            "norm_inf": norm_inf(m),
            "norm_one": norm_inf(m.T),
            "row_error": row_error(m),
            "column_error": row_error(m.T),
            "negativity": max(0.0, -m.min()),
        }
        for name, value in expected.items():
            assert getattr(gains, name)[token].item() == pytest.approx(value, rel=1e-12), name


def test_amax_is_no_norm_and_directions_are_told_apart() -> None:
    gains = layer_gains(torch.tensor([[3.0, -3.0], [0.0, 1.0]]))
    assert gains.amax_forward == 1.0
    assert gains.norm_inf == 6.0
    assert gains.amax_backward == 3.0
    assert gains.norm_one == 4.0
    assert gains.negativity == 3.0
    assert gains.row_error == 1.0
    assert gains.column_error == 3.0


def test_a_nonnegative_matrix_has_no_negativity() -> None:
    assert torch.equal(layer_gains(torch.eye(4).expand(3, 4, 4)).negativity, torch.zeros(3))


def test_what_is_measured_is_left_as_it_was() -> None:
    H = random_matrices(6, 5, 4, 4)
    before = H.clone()
    layer_gains(H), composite_gains(H), norm_two(H)
    assert torch.equal(H, before)


@pytest.mark.parametrize("num_streams", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("num_layers", [1, 2, 7])
def test_composites_agree_with_plain_products(num_streams: int, num_layers: int) -> None:
    H_LTnn = random_matrices(num_layers, 9, num_streams, num_streams)
    gains = composite_gains(H_LTnn)
    for token in range(9):
        factors = H_LTnn[:, token].numpy()
        for layer in range(num_layers):
            prefix = factors[0]
            for factor in factors[1 : layer + 1]:
                prefix = factor @ prefix
            suffix = factors[-1]
            for factor in factors[layer:-1][::-1]:
                suffix = suffix @ factor
            sums = [abs(value) for axis in (0, 1) for value in prefix.sum(axis).tolist()]
            expected = {
                "log_amax_forward": math.log(amax_forward(prefix)),
                "log_norm_inf": math.log(norm_inf(prefix)),
                "log_amax_backward": math.log(amax_forward(suffix.T)),
                "log_norm_one": math.log(norm_inf(suffix.T)),
                "smallest_sum": min(sums),
                "row_error": row_error(prefix),
                "column_error": row_error(prefix.T),
            }
            for name, value in expected.items():
                found = getattr(gains, name)[layer, token].item()
                assert found == pytest.approx(value, rel=1e-9, abs=1e-9), name
            norm = math.exp(gains.log_norm_two[layer, token].item())
            assert norm == pytest.approx(largest_singular_value(prefix), rel=1e-3)


def test_order_is_depth_order_and_a_transposition_would_be_seen() -> None:
    first = torch.tensor([[1.0, 5.0], [0.0, 1.0]])
    second = torch.tensor([[1.0, 0.0], [7.0, 1.0]])
    gains = composite_gains(torch.stack((first, second)).unsqueeze(1))
    # second @ first = [[1, 5], [7, 36]]; first @ second would be [[36, 5], [7, 1]].
    assert gains.log_amax_forward[1].exp().item() == pytest.approx(43.0)
    assert gains.log_amax_backward[0].exp().item() == pytest.approx(41.0)
    assert gains.log_amax_backward[1].exp().item() == pytest.approx(8.0)
    assert gains.log_amax_forward[0].exp().item() == pytest.approx(6.0)


@pytest.mark.parametrize("gain", [1.9e3, 1.9e-3, 3e37])
def test_two_hundred_factors_neither_overflow_nor_vanish(gain: float) -> None:
    mixing = torch.softmax(random_matrices(1, 16, 4, 4, seed=3), dim=-1)
    H_LTnn = (mixing * gain).expand(200, 16, 4, 4).float()
    gains = composite_gains(H_LTnn)
    layers = torch.arange(1, 201).double()
    expected_L = layers * math.log(gain)
    torch.testing.assert_close(gains.log_amax_forward[:, 0].double(), expected_L, rtol=1e-5, atol=1e-4)
    for name in ("log_amax_forward", "log_amax_backward", "log_norm_inf", "log_norm_one", "log_norm_two"):
        assert getattr(gains, name).isfinite().all(), name


def test_products_that_cancel_are_followed_to_zero() -> None:
    nilpotent = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    gains = composite_gains(nilpotent.expand(3, 2, 2, 2))
    assert gains.log_norm_inf[0, 0] == 0.0
    assert (gains.log_norm_inf[1:] == -torch.inf).all()
    assert (gains.smallest_sum == 0.0).all()
    assert torch.equal(gains.row_error[1:], torch.ones(2, 2))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_bad_entry_stays_in_its_own_token(bad: float) -> None:
    H_LTnn = random_matrices(6, 5, 4, 4).float()
    clean = composite_gains(H_LTnn)
    H_LTnn[3, 2, 1, 0] = bad
    gains = composite_gains(H_LTnn)
    others = [0, 1, 3, 4]
    for name in clean.__dataclass_fields__:
        assert torch.equal(getattr(gains, name)[:, others], getattr(clean, name)[:, others]), name
    # The bad layer is in the prefixes from it on, and in the suffixes up to it.
    for name in ("log_amax_forward", "log_norm_inf", "log_norm_two", "row_error"):
        assert torch.equal(getattr(gains, name)[:3, 2], getattr(clean, name)[:3, 2]), name
        assert not getattr(gains, name)[3:, 2].isfinite().any(), name
    for name in ("log_amax_backward", "log_norm_one"):
        assert torch.equal(getattr(gains, name)[4:, 2], getattr(clean, name)[4:, 2]), name
        assert not getattr(gains, name)[:4, 2].isfinite().any(), name


def near_multiples(num_streams: int) -> torch.Tensor:
    """Matrices whose largest singular values lie at every distance from each other, down to none."""
    gaps = torch.logspace(-6, -0.1, 60, dtype=torch.float64)
    left = torch.linalg.qr(random_matrices(60, num_streams, num_streams, seed=5))[0]
    right = torch.linalg.qr(random_matrices(60, num_streams, num_streams, seed=6))[0]
    several = torch.ones(60, num_streams, dtype=torch.float64)
    several[:, 1:] -= gaps[:, None]
    one = torch.ones(60, num_streams, dtype=torch.float64)
    one[:, -1:] -= gaps[:, None]
    return torch.cat([left @ torch.diag_embed(values) @ right for values in (several, one)])


@pytest.mark.parametrize("num_streams", [1, 2, 4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norm_two_is_within_a_thousandth_always(num_streams: int, dtype: torch.dtype) -> None:
    eye = torch.eye(num_streams, dtype=torch.float64)
    cases = [
        random_matrices(500, num_streams, num_streams),
        eye + random_matrices(500, num_streams, num_streams, scale=1e-3),
        near_multiples(num_streams),
        torch.ones(1, num_streams, num_streams, dtype=torch.float64) / num_streams,
        eye[None] * 3.0,
        random_matrices(50, num_streams, 1) @ random_matrices(50, 1, num_streams, seed=2),
        random_matrices(50, num_streams, num_streams, scale=1e-20),
        random_matrices(50, num_streams, num_streams, scale=1e18),
    ]
    M = torch.cat(cases).to(dtype)
    true = torch.linalg.svdvals(M.double())[:, 0]
    assert relative_error(norm_two(M), true) <= 1e-3


def test_norm_two_is_sharp_where_the_gap_is_reasonable() -> None:
    M = random_matrices(3000, 4, 4)
    values = torch.linalg.svdvals(M)
    apart = values[:, 1] < 0.98 * values[:, 0]
    assert apart.sum() > 2500
    assert relative_error(norm_two(M.float())[apart], values[apart, 0]) <= 1e-5


def test_norm_two_of_nothing_and_of_nan() -> None:
    M = torch.eye(4).repeat(3, 1, 1)
    M[0], M[1, 0, 0] = 0.0, torch.nan
    found = norm_two(M)
    assert found[0] == 0.0
    assert found[1].isnan()
    assert found[2].item() == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(
    ("measure", "shape"),
    [(layer_gains, (3,)), (layer_gains, (3, 4)), (norm_two, (9, 9)), (composite_gains, (5, 4, 4)),
     (composite_gains, (0, 5, 4, 4)), (composite_gains, (2, 5, 3, 4))],
)  # fmt: skip
def test_a_wrong_shape_is_told(measure: object, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"got shape.*n from 1 to 8"):
        measure(torch.zeros(shape))  # type: ignore[operator]

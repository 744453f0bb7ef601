"""Degeneracies of mixing matrices against numpy in float64."""

import math

import numpy as np
import pytest
import torch

from foreshock.probe.observers.degeneracy import (
    composite_degeneracy,
    layer_degeneracy,
    post_cancellation,
    pre_cancellation,
)

TINY = math.log(np.finfo(np.float32).tiny)


def matrices(layers: int, tokens: int, streams: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.eye(streams) + 0.6 * random.standard_normal((layers, tokens, streams, streams))


@pytest.mark.parametrize("streams", [1, 2, 4, 8])
def test_each_layer_against_numpy(streams: int) -> None:
    H = matrices(3, 50, streams, seed=streams)
    found = layer_degeneracy(torch.from_numpy(H).float()).numpy()
    sums = np.concatenate((H.sum(-1), H.sum(-2)), -1)
    distance = np.sqrt(((H - np.eye(streams)) ** 2).sum((-1, -2)) / streams)
    deviation = np.abs(np.log(np.abs(sums))).max(-1)
    negative = (sums < 0).sum(-1)
    wanted = [distance.mean(1), deviation.mean(1), deviation.max(1), negative.mean(1), negative.max(1)]
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-5)


def test_a_sum_of_zero_is_a_finite_deviation_and_nan_stays_nan() -> None:
    H = torch.tensor([[1.0, -1.0], [0.5, 0.5]]).repeat(1, 2, 1, 1)
    distance, _, deviation, _, negative = layer_degeneracy(H)[:, 0].tolist()
    assert deviation == pytest.approx(-TINY, rel=1e-6)
    assert negative == 1.0 and math.isfinite(distance)  # the second column's sum is -0.5
    H[0, 1, 0, 0] = math.nan
    assert all(map(math.isnan, layer_degeneracy(H)[:, 0].tolist()))


@pytest.mark.parametrize(("layers", "streams"), [(1, 3), (6, 4), (200, 2)])
def test_the_whole_composite_against_numpy(layers: int, streams: int) -> None:
    H = matrices(layers, 20, streams, seed=layers)
    found = composite_degeneracy(torch.from_numpy(H).float()).numpy()
    H = H.astype(np.float32).astype(np.float64)
    collapse, values = [], []
    centring = np.eye(streams) - 1 / streams
    for token in range(20):
        product, log_scale = np.eye(streams), 0.0
        for layer in range(layers):
            product = H[layer, token] @ product
            log_scale += math.log(np.abs(product).max())
            product /= np.abs(product).max()
        collapse.append(math.log(np.linalg.svd(centring @ product @ centring)[1][0]) + log_scale)
        values.append(np.log(np.linalg.svd(product)[1]) + log_scale)
    np.testing.assert_allclose(found[:2], [np.mean(collapse), np.max(collapse)], rtol=1e-4, atol=1e-4)
    wanted = np.maximum(np.mean(values, 0), TINY)
    # What lies 15 decades below the largest is rounding in any arithmetic
    known = wanted > wanted[0] - 30
    np.testing.assert_allclose(found[2:][known], wanted[known], rtol=1e-3, atol=1e-2)


def test_streams_that_are_all_one_average_have_collapsed() -> None:
    average = torch.full((5, 3, 4, 4), 0.25)
    collapse, _, largest, second, *_ = composite_degeneracy(average).tolist()
    assert largest == pytest.approx(0.0, abs=1e-6)
    assert collapse < -30 and second < -30
    collapse, _, *values = composite_degeneracy(torch.eye(4).repeat(5, 3, 1, 1)).tolist()
    assert [collapse, *values] == pytest.approx([0.0] * 5, abs=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_matrix_that_is_not_finite_is_no_composite(bad: float) -> None:
    H = torch.eye(4).repeat(3, 2, 1, 1)
    H[1, 0, 2, 3] = bad
    assert not any(map(math.isfinite, composite_degeneracy(H).tolist()))


def test_cancellation_against_numpy() -> None:
    random = np.random.default_rng(0)
    x, pre, post = random.standard_normal((30, 4, 16)), *random.standard_normal((2, 30, 4))
    read = np.einsum("kn,knc->kc", pre, x)
    of_pre = np.linalg.norm(read, axis=-1) / (np.abs(pre) * np.linalg.norm(x, axis=-1)).sum(-1)
    of_post = np.abs(post.sum(-1)) / np.abs(post).sum(-1)
    x_KnC, pre_Kn, post_Kn = (torch.from_numpy(each) for each in (x, pre, post))
    np.testing.assert_allclose(pre_cancellation(x_KnC, pre_Kn), [of_pre.mean(), of_pre.min()], rtol=1e-5)
    np.testing.assert_allclose(post_cancellation(post_Kn), [of_post.mean(), of_post.min()], rtol=1e-5)


def test_streams_that_cancel_leave_nothing_and_nothing_has_lost_nothing() -> None:
    x = torch.ones(1, 2, 8)
    against = torch.tensor([[2.0, -2.0]])
    assert pre_cancellation(x, against).tolist() == post_cancellation(against).tolist() == [0.0, 0.0]
    nothing = torch.zeros(1, 2)
    assert pre_cancellation(x, nothing).tolist() == post_cancellation(nothing).tolist() == [1.0, 1.0]

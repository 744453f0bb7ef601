"""Trends: exact where few, against brute force, and calibrated on noise that remembers itself."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from foreshock.server.detection.trend import (
    correlation_factor,
    kendall_score,
    mann_kendall,
    theil_sen,
    trend,
)

values = st.lists(st.integers(-20, 20).map(float), min_size=3, max_size=25)


@given(values)
def test_the_score_is_pairs_that_rise_less_pairs_that_fall(listed):
    brute = sum(int(np.sign(b - a)) for a, b in itertools.combinations(listed, 2))
    assert kendall_score(np.array(listed)) == brute


@given(values, st.integers(1, 5))
def test_the_slope_is_the_median_over_all_pairs(listed, stride):
    steps = np.cumsum(np.arange(1, len(listed) + 1) % 3 + stride)
    pairs = itertools.combinations(range(len(listed)), 2)
    brute = [(listed[j] - listed[i]) / (steps[j] - steps[i]) for i, j in pairs]
    assert theil_sen(steps, np.array(listed)) == pytest.approx(float(np.median(brute)))


@pytest.mark.parametrize("n", [3, 4, 5, 6])
def test_few_samples_are_tested_exactly(n):
    orders = [np.array(order, float) for order in itertools.permutations(range(n))]
    scores = np.array([kendall_score(order) for order in orders])
    for order, score in zip(orders, scores, strict=True):
        rising, falling = mann_kendall(order)
        assert rising == pytest.approx(float((scores >= score).mean()))
        assert falling == pytest.approx(float((scores <= score).mean()))


@given(values)
def test_up_and_down_are_mirror_images(listed):
    array = np.array(listed)
    assert mann_kendall(array)[0] == pytest.approx(mann_kendall(-array)[1])


def test_many_independent_samples_agree_with_kendalls_tau():
    rng = np.random.default_rng(3)
    values = 0.01 * np.arange(80) + rng.standard_normal(80)
    expected = stats.kendalltau(np.arange(80), values, alternative="greater", method="asymptotic").pvalue
    assert mann_kendall(values)[0] == pytest.approx(expected, rel=0.15)


def test_a_constant_series_has_no_trend():
    found = trend(np.arange(30), np.full(30, 2.0))
    assert (found.p_rising, found.p_falling, found.slope) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_samples_show_nothing(n):
    assert trend(np.arange(n), np.arange(n, dtype=float)).p_rising == 1.0


def noise(rng, phi, n):
    shocks = rng.standard_normal(n + 100)
    for i in range(1, len(shocks)):
        shocks[i] += phi * shocks[i - 1]
    return shocks[100:]


@pytest.mark.parametrize(("phi", "bound"), [(0.0, 0.02), (0.5, 0.04), (0.8, 0.06)])
def test_noise_that_remembers_itself_seldom_looks_like_a_trend(phi, bound):
    rng = np.random.default_rng(5)
    steps = np.arange(150)
    found = [trend(steps, noise(rng, phi, 150)).p_rising < 0.01 for _ in range(300)]
    assert np.mean(found) <= bound


def test_the_correction_is_what_keeps_it_seldom():
    rng = np.random.default_rng(5)
    series = [noise(rng, 0.8, 150) for _ in range(200)]
    plain = np.mean([mann_kendall(one)[0] < 0.01 for one in series])
    corrected = np.mean([trend(np.arange(150), one).p_rising < 0.01 for one in series])
    assert plain > 0.12 and corrected < plain / 3


def test_a_clear_rise_stays_significant_after_the_correction():
    rng = np.random.default_rng(6)
    values = 0.02 * np.arange(200) + 0.2 * noise(rng, 0.5, 200)
    assert trend(np.arange(200), values).p_rising < 1e-6


@given(st.lists(st.floats(-1e6, 1e6), min_size=11, max_size=40))
def test_the_correction_never_narrows(listed):
    factor = correlation_factor(np.array(listed))
    assert factor >= 1 and math.isfinite(factor)

"""The baseline under a falling, noisy loss."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.server.detection.baseline import baseline


@given(st.floats(-0.01, 0.01), st.floats(1, 10), st.integers(20, 200))
def test_a_straight_line_is_met_within_its_own_noise(slope, level, n):
    steps = np.arange(n)
    line = baseline(steps, 10 + level + slope * steps, n)
    assert line.level == pytest.approx(10 + level + slope * n, abs=abs(slope) * n / 2 + 1e-9)


def test_the_noise_is_that_of_the_series_whatever_its_slope():
    rng = np.random.default_rng(0)
    steps = np.arange(400)
    falling = 5 - 0.005 * steps + 0.05 * rng.standard_normal(400)
    assert baseline(steps, falling, 400).noise == pytest.approx(0.05, rel=0.25)


def test_a_falling_curve_that_flattens_is_not_promised_to_go_on_falling():
    steps = np.arange(200)
    curve = 2 + 3 * np.exp(-steps / 30)
    line = baseline(steps, curve, 200)
    assert line.level >= 2.0
    assert line.z(float(curve[-1])) < 3


def test_a_plain_number_of_outliers_does_not_move_it():
    rng = np.random.default_rng(1)
    steps = np.arange(100)
    clean = 3 + 0.05 * rng.standard_normal(100)
    dirty = clean.copy()
    dirty[::9] += 50
    assert baseline(steps, dirty, 100).level == pytest.approx(baseline(steps, clean, 100).level, abs=0.05)


def test_a_series_without_noise_has_a_floor_of_noise():
    line = baseline(np.arange(50), np.full(50, 2.0), 50)
    assert line.z(2.0) == 0 and line.noise == pytest.approx(0.002)

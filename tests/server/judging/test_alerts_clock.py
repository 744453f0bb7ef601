"""Seconds by the samples' times: never back, and not fooled by a clock that is set."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from foreshock.server.alerts.clock import LONGEST_GAP_SECONDS, Clock


def seconds(*times):
    clock = Clock()
    for time in times:
        clock = clock.at(time)
    return clock.seconds


def test_it_counts_from_the_first_time():
    assert seconds(100.0, 101.5, 104.0) == 4.0


def test_what_is_no_time_is_passed_over():
    assert seconds(math.nan, 100.0, 0.0, -7.0, math.inf, 102.0, math.nan) == 2.0


def test_a_clock_that_is_set_back_goes_on_from_there():
    assert seconds(1000.0, 1001.0, 501.0, 502.0, 503.0) == 3.0


def test_one_time_out_of_order_counts_for_nothing():
    assert seconds(100.0, 101.0, 7.0, 103.0) == 3.0
    assert seconds(*[one for pair in zip(range(100, 110), range(50, 60), strict=True) for one in pair]) == 9.0


def test_a_time_from_the_far_future_counts_for_an_hour_and_the_clock_goes_on():
    assert seconds(100.0, 1e12, 101.0, 102.0) == LONGEST_GAP_SECONDS + 1.0


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=50))
def test_it_never_goes_back_and_stays_finite(times):
    clock, before = Clock(), 0.0
    for time in times:
        clock = clock.at(time)
        assert math.isfinite(clock.seconds) and clock.seconds >= before
        before = clock.seconds


@given(st.lists(st.floats(1.0, 1e9), min_size=1, max_size=50).map(sorted))
def test_times_that_rise_are_counted_gap_by_gap(times):
    gaps = [min(after - before, LONGEST_GAP_SECONDS) for before, after in itertools.pairwise(times)]
    assert math.isclose(seconds(*times), sum(gaps), abs_tol=1e-6)

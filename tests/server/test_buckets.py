"""Buckets: no spike is ever lost, edges never move."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foreshock.server.store.buckets import bucket_series, bucket_starts, bucket_width, extremes

rising_steps = st.lists(st.integers(0, 100_000), min_size=1, max_size=300, unique=True).map(sorted)


def bucketed(steps: list[int], values: Any, max_buckets: int):
    width = bucket_width(steps[0], steps[-1], max_buckets)
    return bucket_series("loss", np.array(steps, np.int64), np.array(values, np.float32), width)


@given(
    steps=rising_steps,
    max_buckets=st.integers(1, 2000),
    where=st.floats(0, 1, exclude_max=True),
    sign=st.sampled_from([-1, 1]),
)
def test_a_single_spike_survives_every_resolution(
    steps: list[int], max_buckets: int, where: float, sign: int
) -> None:
    values = np.ones(len(steps))
    place = int(where * len(steps))
    values[place] = sign * 1e6
    found = bucketed(steps, values, max_buckets)
    assert len(found.count) <= max_buckets
    holding = (found.first_step <= steps[place]) & (steps[place] <= found.last_step)
    assert holding.sum() == 1
    extreme = found.maximum if sign > 0 else found.minimum
    assert extreme[holding] == sign * 1e6


@given(
    steps=rising_steps,
    max_buckets=st.integers(1, 2000),
    where=st.floats(0, 1, exclude_max=True),
    planted=st.sampled_from([np.nan, np.inf, -np.inf]),
)
def test_a_single_non_finite_value_survives_every_resolution(
    steps: list[int], max_buckets: int, where: float, planted: float
) -> None:
    values = np.ones(len(steps))
    values[int(where * len(steps))] = planted
    found = bucketed(steps, values, max_buckets)
    assert found.nonfinite.sum() == 1
    assert found.count.sum() == len(steps)
    if np.isposinf(planted):
        assert np.isposinf(found.maximum).sum() == 1
    if np.isneginf(planted):
        assert np.isneginf(found.minimum).sum() == 1
    alone = (found.count == 1) & (found.nonfinite == 1)
    np.testing.assert_equal(found.mean[alone], planted)
    assert (found.mean[~alone] == 1.0).all()


@given(
    steps=rising_steps.map(lambda steps: steps[:60]),
    max_buckets=st.integers(1, 50),
    values=st.lists(st.floats(width=32), min_size=60, max_size=60),
)
def test_buckets_agree_with_plain_python(steps: list[int], max_buckets: int, values: Any) -> None:
    width = bucket_width(steps[0], steps[-1], max_buckets)
    found = bucketed(steps, values[: len(steps)], max_buckets)
    groups = {}
    for step, value in zip(steps, values, strict=False):
        groups.setdefault(step // width, []).append((step, np.float32(value)))
    assert found.first_step.tolist() == [group[0][0] for group in groups.values()]
    for index, group in enumerate(groups.values()):
        numbers = [float(value) for _, value in group if not np.isnan(value)]
        finite = [value for value in numbers if np.isfinite(value)]
        assert found.nonfinite[index] == len(group) - len(finite)
        np.testing.assert_equal(found.minimum[index], min(numbers, default=np.nan))
        np.testing.assert_equal(found.maximum[index], max(numbers, default=np.nan))
        np.testing.assert_equal(found.first[index], float(group[0][1]))
        np.testing.assert_equal(found.last[index], float(group[-1][1]))
        mean = np.mean(finite) if finite else np.nan
        if len(group) == 1:
            mean = float(group[0][1])
        np.testing.assert_allclose(found.mean[index], mean, rtol=1e-9, atol=1e-30)


@given(first=st.integers(0, 10**9), span=st.integers(0, 10**9), max_buckets=st.integers(1, 5000))
def test_widths_are_the_smallest_power_of_two_that_fits(first: int, span: int, max_buckets: int) -> None:
    width = bucket_width(first, first + span, max_buckets)
    assert width & (width - 1) == 0
    assert (first + span) // width - first // width < max_buckets
    assert width == 1 or (first + span) // (width // 2) - first // (width // 2) >= max_buckets


def test_edges_stay_while_a_run_grows() -> None:
    short, long = np.arange(1000), np.arange(1023)
    before = bucket_series("loss", short, np.ones(1000, np.float32), 16)
    after = bucket_series("loss", long, np.ones(1023, np.float32), 16)
    assert after.first_step[: len(before.first_step)].tolist() == before.first_step.tolist()


def test_no_steps_make_no_buckets() -> None:
    empty = np.zeros(0, np.int64)
    assert len(bucket_series("loss", empty, np.zeros(0, np.float32), 4).count) == 0
    assert len(bucket_starts(empty, 4)) == 0


def test_layers_are_reduced_together() -> None:
    values = np.array([[1.0, 2.0, np.nan], [np.nan, np.nan, 5.0]], np.float32)
    found = extremes(values, np.array([0, 2]))
    np.testing.assert_equal(found.maximum, [[2.0, np.nan], [np.nan, 5.0]])
    np.testing.assert_equal(found.mean, [[1.5, np.nan], [np.nan, 5.0]])


def test_a_lone_infinity_is_its_own_mean_and_among_others_it_is_left_out() -> None:
    lone = bucketed([0, 1, 2], [np.inf, -np.inf, np.nan], 3)
    assert lone.mean[:2].tolist() == [np.inf, -np.inf] and np.isnan(lone.mean[2])
    assert bucketed([0, 1], [np.inf, 2.0], 1).mean.tolist() == [2.0]

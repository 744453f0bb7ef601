"""Buckets: no spike is ever lost, edges never move."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foreshock.server.store.cells import Cells, cell_width
from foreshock.wire.readings import SeriesBuckets

rising_steps = st.lists(st.integers(0, 100_000), min_size=1, max_size=300, unique=True).map(sorted)


def bucketed(steps: list[int], values: Any, max_buckets: int):
    return one_series(steps, values, cell_width(steps[0], steps[-1], max_buckets))


def one_series(steps: Any, values: Any, width: int) -> SeriesBuckets:
    row = np.array(values, np.float32)[None]
    return Cells.of(np.array(steps, np.int64), row, np.ones(row.shape, bool), width).series("loss", 0, width)


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
    width = cell_width(steps[0], steps[-1], max_buckets)
    found = bucketed(steps, values[: len(steps)], max_buckets)
    groups = {}
    for step, value in zip(steps, values, strict=False):
        groups.setdefault(step // width, []).append((step, np.float32(value)))
    assert found.first_step.tolist() == [group[0][0] for group in groups.values()]
    for index, group in enumerate(groups.values()):
        numbers = [float(value) for _, value in group if not np.isnan(value)]
        finite = [value for value in numbers if np.isfinite(value)]
        assert found.nonfinite[index] == len(group) - len(finite)
        np.testing.assert_equal(found.minimum[index] + 0.0, min(numbers, default=np.nan) + 0.0)
        np.testing.assert_equal(found.maximum[index] + 0.0, max(numbers, default=np.nan) + 0.0)
        np.testing.assert_equal(found.first[index], float(group[0][1]))
        np.testing.assert_equal(found.last[index], float(group[-1][1]))
        mean = np.mean(finite) if finite else np.nan
        if len(group) == 1:
            mean = float(group[0][1])
        np.testing.assert_allclose(found.mean[index], mean, rtol=1e-9, atol=1e-30)


@given(first=st.integers(0, 10**9), span=st.integers(0, 10**9), max_buckets=st.integers(1, 5000))
def test_widths_are_the_smallest_power_of_two_that_fits(first: int, span: int, max_buckets: int) -> None:
    width = cell_width(first, first + span, max_buckets)
    assert width & (width - 1) == 0
    assert (first + span) // width - first // width < max_buckets
    assert width == 1 or (first + span) // (width // 2) - first // (width // 2) >= max_buckets


def test_edges_stay_while_a_run_grows() -> None:
    short, long = np.arange(1000), np.arange(1023)
    before = one_series(short, np.ones(1000), 16)
    after = one_series(long, np.ones(1023), 16)
    assert after.first_step[: len(before.first_step)].tolist() == before.first_step.tolist()


def test_no_steps_make_no_buckets() -> None:
    assert len(one_series([], [], 4).count) == 0


def test_columns_are_reduced_together_and_each_by_what_it_has() -> None:
    values = np.array([[1.0, 2.0, np.nan], [np.nan, 7.0, 5.0]], np.float32)
    present = np.array([[True, True, True], [True, False, True]])
    cells = Cells.of(np.array([0, 1, 2]), values, present, 2)
    np.testing.assert_equal(cells.maximum, [[2.0, np.nan], [np.nan, 5.0]])
    np.testing.assert_equal(cells.mean, [[1.5, np.nan], [np.nan, 5.0]])
    assert cells.count.tolist() == [[2, 1], [1, 1]]
    assert cells.nonfinite.tolist() == [[0, 1], [1, 0]]
    assert cells.last_step.tolist() == [[1, 2], [0, 2]]


@given(
    steps=rising_steps,
    seed=st.integers(0, 2**32 - 1),
    narrow=st.integers(0, 12),
    wider=st.integers(0, 8),
    cut=st.floats(0, 1),
)
def test_cells_widened_are_the_cells_that_would_have_been_made(
    steps: list[int], seed: int, narrow: int, wider: int, cut: float
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice([np.nan, np.inf, -np.inf, 0.0, 1.0, -2.5, 1e30, 1e-30], (3, len(steps))).astype(
        np.float32
    )
    present = rng.random(values.shape) < 0.7
    whole = Cells.of(np.array(steps), values, present, 2 ** (narrow + wider))
    # Made in two pieces, which may share a cell, as two windows of a stream may
    place = int(cut * len(steps))
    pieces = [
        Cells.of(np.array(steps[here], np.int64), values[:, here], present[:, here], 2**narrow)
        for here in (slice(place), slice(place, None))
    ]
    joined = Cells.join(pieces, 3).widen(2 ** (narrow + wider))
    assert joined.edge.tolist() == whole.edge.tolist()
    told = whole.count > 0
    for name in set(Cells.__dataclass_fields__) - {"edge", "mean", "count", "nonfinite"}:
        np.testing.assert_equal(getattr(joined, name)[told], getattr(whole, name)[told], name)
    np.testing.assert_equal(joined.count, whole.count)
    np.testing.assert_equal(joined.nonfinite, whole.nonfinite)
    np.testing.assert_allclose(joined.mean[told], whole.mean[told], rtol=1e-12)


def test_a_lone_infinity_is_its_own_mean_and_among_others_it_is_left_out() -> None:
    lone = bucketed([0, 1, 2], [np.inf, -np.inf, np.nan], 3)
    assert lone.mean[:2].tolist() == [np.inf, -np.inf] and np.isnan(lone.mean[2])
    assert bucketed([0, 1], [np.inf, 2.0], 1).mean.tolist() == [2.0]

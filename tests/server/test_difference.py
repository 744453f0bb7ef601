"""Welch's interval, against scipy's own test."""

import numpy as np
import pytest
from scipy import stats

from foreshock.server.store.difference import difference_of
from foreshock.wire.readings import GroupSeries, SeedSeries


def group(key: str, rows: list[list[float]], first: int = 0) -> GroupSeries:
    values = np.asarray(rows, np.float64)
    seeds = tuple(SeedSeries(f"{key}{i}", f"{key} {i}", i, row) for i, row in enumerate(values))
    steps = np.arange(first, first + values.shape[1])
    return GroupSeries(key, steps, values[0], values[0], values[0], seeds)


def test_the_interval_is_welchs() -> None:
    random = np.random.default_rng(3)
    one, other = random.normal(2, 0.5, (5, 4)), random.normal(1, 2.0, (8, 4))
    found = difference_of(group("a", one.tolist()), group("b", other.tolist()), "linear")
    assert found is not None and found.scale == "difference"
    for at in range(4):
        interval = stats.ttest_ind(one[:, at], other[:, at], equal_var=False).confidence_interval(0.95)
        assert found.low[at] == pytest.approx(interval.low)
        assert found.high[at] == pytest.approx(interval.high)
    assert found.middle == pytest.approx(one.mean(axis=0) - other.mean(axis=0))


def test_a_log_signals_difference_is_a_ratio_of_geometric_means() -> None:
    found = difference_of(group("a", [[10.0], [1000.0]]), group("b", [[1.0], [100.0]]), "log")
    assert found is not None and found.scale == "ratio"
    assert found.middle[0] == pytest.approx(10.0)
    assert found.low[0] < 1.0 < found.high[0]


def test_only_steps_that_both_have_are_compared() -> None:
    found = difference_of(group("a", [[1.0, 2.0]]), group("b", [[5.0, 6.0]], first=1), "linear")
    assert found is not None and found.first_step.tolist() == [1] and found.middle[0] == -3.0
    assert difference_of(group("a", [[1.0]]), group("b", [[1.0]], first=9), "linear") is None


def test_a_seed_that_is_not_finite_has_no_part_and_one_seed_gives_no_interval() -> None:
    found = difference_of(group("a", [[1.0], [np.nan], [3.0]]), group("b", [[0.0], [np.inf]]), "linear")
    assert found is not None and found.middle[0] == 2.0
    assert (found.num_of[0], found.num_against[0]) == (2, 1)
    assert np.isnan(found.low[0]) and np.isnan(found.high[0])


def test_seeds_that_are_all_alike_differ_by_exactly_that() -> None:
    found = difference_of(group("a", [[3.0], [3.0]]), group("b", [[1.0], [1.0]]), "linear")
    assert found is not None and (found.low[0], found.middle[0], found.high[0]) == (2.0, 2.0, 2.0)

"""Cells of values that are all there are what cells of values are, of which some might be missing."""

import numpy as np
import pytest

from foreshock.server.store.cells import Cells


@pytest.mark.parametrize("num_steps", [1, 2, 63, 64, 1000])
@pytest.mark.parametrize("width", [1, 4, 64])
@pytest.mark.parametrize("broken", [False, True])
def test_nothing_missing_is_a_case_of_something_missing(num_steps: int, width: int, broken: bool) -> None:
    random = np.random.default_rng(num_steps + width)
    steps = np.cumsum(random.integers(1, 4, num_steps)).astype(np.int64)
    values = (10.0 ** random.uniform(-30, 30, (3, num_steps))).astype(np.float32)
    if broken:
        values[0, ::3], values[1, ::5], values[2] = np.nan, np.inf, -np.inf
    whole = Cells.of(steps, values, np.ones(values.shape, bool), width)
    # A fourth column that has nothing makes the others be looked at one by one
    beside = np.concatenate([values, np.zeros((1, num_steps), np.float32)])
    present = np.ones(beside.shape, bool)
    present[3] = False
    apart = Cells.of(steps, beside, present, width).chosen([0, 1, 2])
    for name in Cells.__dataclass_fields__:
        one, other = getattr(whole, name), getattr(apart, name)
        assert one.dtype == other.dtype
        assert np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes(), name

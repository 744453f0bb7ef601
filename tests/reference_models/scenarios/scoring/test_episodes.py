"""Pages and alarm time, held against a walk through every step at every threshold."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foreshock.reference_models.scenarios.scoring.episodes import Pages, in_force, largest_between

# Few values, so that ties and thresholds met exactly are common
SCORES = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, np.inf, np.nan]), min_size=1, max_size=40).map(
    np.array
)


def walk(score: NDArray[np.float64], gap: int, threshold: float) -> list[int]:
    pages, last_on = [], -(10**9)
    for row, value in enumerate(score.tolist()):
        if value > threshold:
            if row - last_on > gap:
                pages.append(row)
            last_on = row
    return pages


@given(SCORES, st.integers(1, 8))
def test_pages_are_those_of_a_walk_at_every_threshold(score: NDArray[np.float64], gap: int) -> None:
    pages = Pages.of(score, gap)
    for threshold in (-1.0, 0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 1e300):
        assert pages.at(threshold).tolist() == walk(score, gap, threshold)


@given(SCORES, st.integers(1, 12), st.integers(0, 5))
def test_the_largest_between_two_distances(score: NDArray[np.float64], nearest: int, width: int) -> None:
    known = np.where(np.isnan(score), -np.inf, score)
    found = largest_between(known, nearest + width, nearest)
    for row in range(len(known)):
        window = known[max(0, row - nearest - width) : max(0, row - nearest + 1)]
        assert found[row] == max(window.tolist(), default=-np.inf)


def test_an_alarm_covers_what_lies_so_far_behind_it() -> None:
    on = np.zeros(10, np.bool_)
    on[2] = True
    assert np.flatnonzero(in_force(on, 5, 3)).tolist() == [5, 6, 7]

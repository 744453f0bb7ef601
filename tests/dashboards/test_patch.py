"""A patched figure is the newer figure, whatever changed; and a live step changes little."""

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foreshock.dashboards.figures import RUN_FIGURES
from foreshock.dashboards.figures.patch import apply, diff
from foreshock.dashboards.recording import Recording
from foreshock.wire.readings import Window

LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.sampled_from(["", "a", "b"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from("xyzw"), inner, max_size=4),
    max_leaves=30,
)
NUMBERS = st.lists(st.integers(0, 2) | st.sampled_from([0.0, -0.0, 1.0]), max_size=12)


def written(value: Any) -> str:
    """The value as JSON, where true is not 1 and -0.0 is not 0.0; the order of members is not told."""
    return json.dumps(value, sort_keys=True)


@given(VALUES, VALUES)
def test_a_patched_value_is_the_newer_one(old: Any, new: Any) -> None:
    before = written(old)
    patch = json.loads(json.dumps(diff(old, new)))
    assert written(apply(old, patch)) == written(new)
    assert written(old) == before


@given(NUMBERS, NUMBERS)
def test_a_patched_list_is_the_newer_one(old: list[float], new: list[float]) -> None:
    assert written(apply(old, diff(old, new))) == written(new)


@given(VALUES)
def test_nothing_is_said_of_what_did_not_change(value: Any) -> None:
    assert diff(value, json.loads(json.dumps(value))) is None


def test_a_longer_list_tells_its_end_only() -> None:
    assert diff({"x": [1, 2, 3]}, {"x": [1, 2, 4, 5]}) == {
        "keys": {"x": {"at": [2, 3], "put": [4, 5]}},
        "gone": [],
    }


def test_a_band_that_grows_in_its_middle_tells_its_middle_only() -> None:
    assert diff([1, 2, 3, 3, 2, 1], [1, 2, 3, 4, 4, 3, 2, 1]) == {"at": [3, 3], "put": [4, 4]}


def test_parts_that_did_not_change_are_shared() -> None:
    old = {"a": [1, 2], "b": {"c": [3]}}
    new = apply(old, diff(old, {"a": [1, 5], "b": {"c": [3]}}))
    assert new["b"] is old["b"]


def recording(num_steps: int) -> Recording:
    random, steps = np.random.default_rng(5), np.arange(num_steps)
    names = ["loss", "grad_norm", *(f"layer_amax_forward_max[{layer}]" for layer in range(12))]
    drawn = {name: 1 + 0.1 * random.standard_normal(4000)[:num_steps] for name in names}
    return Recording({name: (steps, values) for name, values in drawn.items()})


def test_a_live_step_changes_less_than_a_tenth_of_a_figure() -> None:
    for name in ("loss", "gain_map"):
        old, new = (RUN_FIGURES[name](recording(count), Window(buckets=400)) for count in (3000, 3001))
        patch = diff(old, new)
        assert apply(old, patch) == new
        assert len(json.dumps(patch)) < 0.1 * len(json.dumps(new))

"""A run in memory: what buckets must keep."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foreshock.dashboards.recording import Recording
from foreshock.wire.readings import Window

VALUES = st.lists(st.floats(width=32), min_size=1, max_size=200)


@given(values=VALUES, start=st.integers(0, 10_000), buckets=st.integers(1, 300))
def test_a_bucket_holds_its_extremes_its_count_and_its_broken_values(
    values: list[float], start: int, buckets: int
) -> None:
    array = np.asarray(values, dtype=np.float64)
    recording = Recording({"loss": (np.arange(start, start + len(array)), array)})
    (found,) = recording.series(("loss", "absent"), Window(buckets=buckets))
    assert len(found.count) <= buckets
    assert found.count.sum() == len(array)
    assert found.nonfinite.sum() == (~np.isfinite(array)).sum()
    assert found.bucket_width & (found.bucket_width - 1) == 0
    known = array[~np.isnan(array)]
    if len(known):
        assert np.fmax.reduce(found.maximum) == known.max()
        assert np.fmin.reduce(found.minimum) == known.min()
    else:
        assert np.isnan(found.maximum).all()


def test_edges_do_not_move_while_a_run_grows() -> None:
    values = np.arange(1000.0)
    short = Recording({"loss": (np.arange(900), values[:900])}).series(("loss",), Window(buckets=64))[0]
    long = Recording({"loss": (np.arange(1000), values)}).series(("loss",), Window(buckets=64))[0]
    assert short.bucket_width == long.bucket_width == 16
    assert long.first_step[: len(short.first_step)].tolist() == short.first_step.tolist()


def test_a_map_lays_layers_of_unequal_length_on_common_steps() -> None:
    recording = Recording({"stream_rms[0]": ([0, 1, 2], [1, 2, 3]), "stream_rms[2]": ([2, 3], [5, 6])})
    found = recording.layer_map("stream_rms", Window())
    assert found is not None
    assert found.first_step.tolist() == [0, 1, 2, 3]
    assert np.isnan(found.maximum[1]).all()
    assert found.maximum[2].tolist()[2:] == [5, 6]
    assert recording.layer_map("stream_max", Window()) is None


def test_a_window_without_steps_is_empty_and_not_an_error() -> None:
    recording = Recording({"loss": ([5, 6], [1.0, 2.0])})
    (found,) = recording.series(("loss",), Window(start=50, stop=60))
    assert len(found.count) == 0


def test_a_bucket_of_the_risk_keeps_its_largest() -> None:
    steps = np.array([0, 1, 2, 3, 16, 32])
    risk = {"20": [0.1, 0.4, 0.2, 0.1, 0.0, 0.9], "10%": [0.5] * 6}
    recording = Recording({}, risk=(steps, risk))
    whole = recording.risk(Window(buckets=10))
    assert whole.bucket_width == 4 and whole.first_step.tolist() == [0, 16, 32]
    assert whole.last_step.tolist() == [3, 16, 32]
    assert whole.risk["20"].tolist() == [0.4, 0.0, 0.9] and whole.risk["10%"].tolist() == [0.5] * 3
    part = recording.risk(Window(1, 16))
    assert part.bucket_width == 1 and part.risk["20"].tolist() == [0.4, 0.2, 0.1, 0.0]
    assert not len(Recording({}).risk(Window()).first_step)

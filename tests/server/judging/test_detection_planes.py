"""Numbers that are stored come back bit by bit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foreshock.server.detection.planes import squeeze, unsqueeze

TYPES = ("<i8", "<f4", "<f8", "u1", "?", "<i2")


@given(st.integers(0, 40), st.data())
def test_what_was_squeezed_comes_back(count, data):
    columns = [data.draw(arrays(np.dtype(kind), count)) for kind in TYPES]
    back = unsqueeze(squeeze(columns), TYPES)
    assert [one.tobytes() for one in back] == [one.tobytes() for one in columns]
    assert [one.dtype for one in back] == [one.dtype for one in columns]


def test_steps_and_noise_take_less_room():
    rng = np.random.default_rng(0)
    columns = [np.arange(300), (1 + 0.01 * rng.standard_normal(300)).astype(np.float32)]
    assert len(squeeze(columns)) < 0.4 * sum(one.nbytes for one in columns)

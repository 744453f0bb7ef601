"""The shared ring: bounded, and the same whether or not it was stored in between."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.server.detection.history import CAPACITY, NUM_MEASURES, History
from foreshock.server.detection.measures import Measure


def row(loss):
    values = np.full(NUM_MEASURES, np.nan)
    values[Measure.LOSS] = loss
    return values


@settings(max_examples=30)
@given(st.integers(0, 3 * CAPACITY), st.integers(0, 3 * CAPACITY))
def test_it_keeps_the_last_samples_and_survives_a_restart(before, after):
    history, expected = History(), []
    for step in range(before + after):
        loss = math.nan if step % 7 == 0 else float(step)
        history.extend(np.array([step]), row(loss)[:, np.newaxis])
        expected.append((step, loss))
        if step == before:
            history = History.unpack(history.pack())
    steps, values = history.since(Measure.LOSS, 0)
    kept = [one for one in expected[-CAPACITY:] if not math.isnan(one[1])]
    assert list(zip(steps.tolist(), values.tolist(), strict=True)) == kept
    assert len(history) == min(before + after, CAPACITY)


def test_the_latest_value_is_known_until_it_is_too_old():
    history = History()
    history.extend(np.array([3]), row(2.5)[:, np.newaxis])
    for step in range(4, 4 + 2 * CAPACITY):
        history.extend(np.array([step]), row(math.nan)[:, np.newaxis])
    assert history.latest(Measure.LOSS, 0) == 2.5
    assert math.isnan(history.latest(Measure.LOSS, 4))
    assert math.isnan(history.latest(Measure.GRAD_NORM, 0))

"""The shared ring: bounded, and the same whether or not it was stored in between."""

import math

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.server.detection.history import CAPACITY, NUM_MEASURES, History, PackedHistory
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


def test_one_that_holds_nothing_yet_is_stored_too():
    assert len(History.unpack(History().pack())) == 0


def filled(values):
    history = History()
    history.extend(np.arange(values.shape[1]), values)
    return history


def test_a_history_that_an_older_collector_stored_is_read():
    values = np.random.default_rng(0).standard_normal((NUM_MEASURES, 40))
    packed = filled(values).pack()
    latest = packed.latest_steps, packed.latest_values
    steps = np.arange(40, dtype=np.int64).tobytes()
    # All in float64, and nothing said of it; then in float32, without those of the last measure
    narrow = values[:-1].astype(np.float32)
    widths = bytes([4] * (NUM_MEASURES - 1) + [0])
    for old, expected in (
        (PackedHistory(steps, values.tobytes(), *latest), values),
        (PackedHistory(steps, narrow.tobytes(), *latest, widths), np.vstack((narrow, np.full(40, np.nan)))),
    ):
        history = History.unpack(msgspec.msgpack.decode(msgspec.msgpack.encode(old), type=PackedHistory))
        assert history.pack().planes == filled(expected).pack().planes


def test_what_probes_send_takes_half_the_room_and_loses_nothing():
    values = np.random.default_rng(0).standard_normal((NUM_MEASURES, 100)).astype(np.float32).astype(float)
    values[3] = np.nan
    values[4, 7], values[5, 8] = np.inf, 0.1
    packed = filled(values).pack()
    assert list(packed.widths) == [0 if row == 3 else 8 if row == 5 else 4 for row in range(NUM_MEASURES)]
    assert len(packed.planes) < 0.95 * (8 * 100 + sum(packed.widths) * 100)
    for measure in Measure:
        steps, kept = History.unpack(packed).since(measure, 0)
        expected = np.flatnonzero(np.isfinite(values[measure]))
        assert steps.tolist() == expected.tolist() and kept.tolist() == values[measure][expected].tolist()


def test_where_a_rule_stands_nothing_behind_is_seen():
    values = np.full((NUM_MEASURES, 6), np.nan)
    values[Measure.LOSS] = [1, np.nan, 3, np.nan, np.nan, 6]
    history = filled(values[:, :2])
    history.extend(np.arange(2, 6), values[:, 2:])
    assert history.latest(Measure.LOSS, 0) == 6
    history.stand_at(2)
    assert history.since(Measure.LOSS, 0)[1].tolist() == [1, 3] and history.latest(Measure.LOSS, 0) == 3
    assert history.latest_within(Measure.LOSS, 1).tolist()[:2] == [3, 3]
    assert np.isnan(history.latest_within(Measure.LOSS, 1)[2])

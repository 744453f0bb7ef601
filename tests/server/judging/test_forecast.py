"""The forecast: the same however it is cut, against independent recursions, never less for more."""

import itertools
import math
import re

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.server.detection.block import block_of
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.detector import Detector
from foreshock.server.detection.forecast.channels import CHANNELS, NUM_CHANNELS, PLACE, read_channels
from foreshock.server.detection.forecast.features import FEATURES, NUM_FEATURES
from foreshock.server.detection.forecast.forecaster import HORIZON_NAMES, Forecaster, ticks
from foreshock.server.detection.forecast.fusion import (
    ALARM,
    HORIZONS,
    MODEL_VERSION,
    NUM_HEADS,
    ModelFile,
    Ramps,
    build,
    risks,
    shipped_model,
)
from foreshock.server.detection.forecast.tracks import Tracks, window_steps

CONTEXT = RunContext(total_steps=600)


def run(seed=0, num_steps=600, dies=True):
    """A loss that falls; where the run is to die, a stream in fp16 that doubles every 30 steps."""
    rng = np.random.default_rng(seed)
    steps = np.arange(num_steps)
    growth = np.exp2(steps / 30) if dies else np.ones(num_steps)
    series = {
        "loss": 2.5 + 3 * np.exp(-steps / 80) + 0.02 * rng.standard_normal(num_steps),
        "grad_norm": np.exp(0.1 * rng.standard_normal(num_steps)) * np.sqrt(growth),
    }
    for layer in range(3):
        noise = np.exp(0.05 * rng.standard_normal(num_steps))
        series[f"stream_rms[{layer}]"] = noise * growth * (1 + layer) / 3
        series[f"stream_max[{layer}]"] = 5 * noise * growth * (1 + layer) / 3
    series["headroom_bits"] = 16 - np.log2(np.maximum(series["stream_max[2]"], 1e-9))
    return block_of(series)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_bit_depends_on_cuts_or_on_a_new_process(seed):
    rng = np.random.default_rng(seed)
    block = run(seed, 400)
    block.values[rng.random(block.values.shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf, 0.0, -3.0])
    block.present[rng.random(block.values.shape) < 0.1] = False
    block.values[~block.present] = np.nan
    whole = Forecaster(CONTEXT)
    expected = whole.advance(block)
    cut = Forecaster(CONTEXT)
    edges = [0, *sorted(set(rng.integers(1, 400, 5).tolist())), 400]
    rows, features, logits = [], [], []
    for start, end in itertools.pairwise(edges):
        stored = msgspec.msgpack.encode(cut.state())
        cut = Forecaster(CONTEXT)
        cut.restore(msgspec.msgpack.decode(stored, type=type(whole.state())))
        part = cut.advance(block.part(start, end))
        rows.append(part.rows + start)
        features.append(part.features)
        logits.append(part.logits)
    assert np.concatenate(rows).tolist() == expected.rows.tolist()
    assert np.concatenate(features).tobytes() == expected.features.tobytes()
    assert np.concatenate(logits).tobytes() == expected.logits.tobytes()
    assert cut.state() == whole.state()


def test_nothing_after_a_step_changes_what_was_said_of_it():
    block = run()
    whole, early = Forecaster(CONTEXT).advance(block), Forecaster(CONTEXT).advance(block.part(0, 300))
    count = len(early.rows)
    assert whole.logits[:count].tobytes() == early.logits.tobytes()


@pytest.mark.parametrize("gap", [0, 40])
def test_means_are_those_of_a_plain_recursion(gap):
    """Weighted means by hand, in Python's own floats, of a channel that is silent for a while."""
    rng = np.random.default_rng(3)
    values = np.full((200, NUM_CHANNELS), np.nan)
    own = rng.standard_normal(200).cumsum()
    own[60 : 60 + gap] = np.nan
    values[:, 0] = own
    tracks = Tracks(CONTEXT)
    view = tracks.advance(values)
    for mean, share in ((view.fast, 1 / 8), (view.middle, 1 / 2), (view.slow, 2.0)):
        gain = 2 / (share * tracks.window + 1)
        top = weight = 0.0
        for step, value in enumerate(own.tolist()):
            top, weight = (1 - gain) * top, (1 - gain) * weight
            if math.isfinite(value):
                top, weight = top + gain * value, weight + gain
            if weight > 1e-3 * gain:
                assert mean[step, 0] == pytest.approx(top / weight, rel=1e-9, abs=1e-12)
            else:
                assert math.isnan(mean[step, 0])
    assert np.isnan(view.fast[:, 1:]).all()


def test_a_channel_is_the_worst_layer_of_its_series():
    nan, inf = math.nan, math.inf
    series = {
        "stream_rms[0]": [2.0, nan, inf],
        "stream_rms[1]": [8.0, 4.0, inf],
        "router_entropy[0]": [0.5, 0.9, nan],
        "router_entropy[1]": [0.7, 0.2, nan],
        "max_attention_logit[0]": [-3.0, 0.0, 99.0],
    }
    block = block_of(series)
    found = read_channels(block)
    np.testing.assert_allclose(found[:, PLACE["stream"]], [math.log(8), math.log(4), nan])
    np.testing.assert_allclose(found[:, PLACE["entropy"]], [0.5, 0.2, nan])
    np.testing.assert_allclose(found[:, PLACE["attention"]], [math.log(4), 0.0, math.log(100)])
    assert np.isnan(found[:, PLACE["loss"]]).all()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_more_is_never_safer_and_what_is_missing_says_nothing(seed):
    rng = np.random.default_rng(seed)
    model = shipped_model()
    features = 4 * rng.standard_normal((1, NUM_FEATURES))
    logits = model.logits(features)
    place = int(rng.integers(NUM_FEATURES))
    more, missing = features.copy(), features.copy()
    more[0, place] += abs(rng.standard_normal())
    missing[0, place] = np.nan
    assert (model.logits(more) >= logits - 1e-12).all()
    assert (model.logits(missing) <= logits + 1e-12).all()
    shares = model.shares(features[0], ALARM)
    assert shares.sum() + model.bias[ALARM] == pytest.approx(logits[0, ALARM])
    wild = np.full((1, NUM_FEATURES), np.inf)
    assert np.isfinite(model.logits(wild)).all()


def test_risks_grow_with_the_horizon_and_meet_the_heads():
    logits = np.array([[-3.0, -2.0, -1.0, 0.0, 5.0], [1.0, 0.0, -1.0, -2.0, 0.0]])
    at = np.array([*HORIZONS, 0.05, 1.5, 4.0])
    found = risks(logits, at)
    np.testing.assert_allclose(found[0, :4], 1 / (1 + np.exp(-logits[0, :4])))
    order = np.argsort(at)
    assert (np.diff(found[:, order], axis=1) >= 0).all() and (found < 1).all()
    # A longer horizon is no safer than a shorter one, whatever the heads say
    assert found[1, 3] == pytest.approx(1 / (1 + math.exp(-1.0)))


def test_ticks_are_every_step_at_first_and_every_sixteenth_at_last():
    everything = np.concatenate([ticks(start, 500) + start for start in range(0, 5000, 500)])
    assert everything.tolist() == ticks(0, 5000).tolist()
    assert everything[:256].tolist() == list(range(256))
    assert set(np.diff(everything[everything >= 2048])) == {16}


def test_a_window_is_a_tenth_of_the_run():
    lengths = {None: 200, 200: 20, 1500: 150, 10_000: 200, 10: 20}
    assert {total: window_steps(RunContext(total_steps=total)) for total in lengths} == lengths


def test_a_model_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="fit it again"):
        build(ModelFile(MODEL_VERSION - 1, [0.0] * NUM_HEADS, {}, 0.0, 0.0))
    unknown = {"no.such": Ramps([0, 1], [[1.0]] * NUM_HEADS)}
    with pytest.raises(ValueError, match=r"no\.such"):
        build(ModelFile(MODEL_VERSION, [0.0] * NUM_HEADS, unknown, 0.0, 0.0))


def test_what_the_features_read_is_a_channel_and_every_channel_is_read():
    assert {feature.channel for feature in FEATURES} == {channel.name for channel in CHANNELS}
    assert len({feature.name for feature in FEATURES}) == NUM_FEATURES


def test_a_stream_that_outgrows_fp16_is_forecast_with_its_reasons_and_a_calm_run_is_not():
    found = Detector(CONTEXT).judge(run())
    ahead = [one for one in found if one.rule == "spike_ahead" and one.state == "firing"]
    critical = [one for one in ahead if one.severity == "critical"]
    # Overflow, at 65,504, comes near step 410
    assert critical and 100 <= critical[0].step <= 390
    first = critical[0]
    assert first.claim == "event" and set(first.grounds.risk) == set(HORIZON_NAMES)
    assert first.grounds.risk["20"] <= first.grounds.risk["100"] <= 1
    assert first.grounds.signal in {"headroom_bits", "stream_rms", "stream_max", "grad_norm"}
    assert "adds" in first.reason and "within 100 steps" in first.reason
    assert [one for one in Detector(CONTEXT).judge(run(dies=False)) if one.severity == "critical"] == []


def test_no_reason_is_a_channel_without_a_number(traces):
    """In a window of 20 steps a channel that comes every twelfth has no newest mean most of the time."""
    found = traces.judge(traces.hc_dying(composite_every=12), total_steps=140)
    reasons = [one.reason for one in found if one.rule in ("spike_ahead", "structural_risk")]
    assert reasons and not [reason for reason in reasons if " is nan" in reason]


def test_a_reason_tells_the_composite_gain_itself_and_not_its_logarithm():
    """Its columns are logarithms, since a product of many layers fits into no other."""
    block, steps = run(), np.arange(600)
    series = {name: block.values[:, place] for place, name in enumerate(block.columns.names)}
    for way in ("forward", "backward"):
        series |= {f"log_composite_amax_{way}_mean[{layer}]": steps / 60 * layer / 2 for layer in range(3)}
    said = re.compile(r"The composite gain \(layer 2\) is ([\d.e+]+), x([\d.e+]+) over the last 60 steps")
    found = Detector(CONTEXT).judge(block_of(series))
    told = [(one.step, match) for one in found if (match := said.search(one.reason))]
    assert told
    for step, match in told:
        # A mean over an eighth of a window lags it by few steps
        assert 0.9 * math.exp(step / 60) < float(match[1]) < math.exp(step / 60), step
        assert 1 < float(match[2]) < math.e

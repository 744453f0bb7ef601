"""Deep models told briefly: what is left out must never be what somebody looks for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from foreshock.probe import attach
from foreshock.probe.errors import AttachError
from foreshock.probe.layers import MAX_WHOLE_LAYERS, NUM_WORST, LayerSummary
from foreshock.wire import (
    CATALOGUE,
    MISSING,
    is_low_worse,
    is_missing,
    parse_column,
    per_layer,
    quantile_series,
)

DEEP = MAX_WHOLE_LAYERS + 8
SERIES = ("layer_amax_forward_max", "composite_smallest_sum_min")  # the worst are high, and low
COLUMNS = ("loss", *per_layer(SERIES, DEEP), "stream_rms[0]", "stream_rms[1]")

readings = npst.arrays(
    np.float32,
    len(COLUMNS),
    elements=st.one_of(
        st.floats(width=32, allow_nan=True),
        st.sampled_from([math.inf, -math.inf, 0.0, -0.0, 1.0]),
        st.just(float("nan")),
    ),
)
absent = npst.arrays(np.bool_, len(COLUMNS))


def told(summary, values, is_whole):
    """By column, what a reading tells."""
    reading = summary.of(values, is_whole)
    assert reading.dtype == np.float32 and len(reading) == len(summary.columns)
    return {
        name: float(value)
        for name, value, gone in zip(summary.columns, reading, is_missing(reading), strict=True)
        if not gone
    }


def same(left, right):
    return left == right or (math.isnan(left) and math.isnan(right))


@given(readings, absent, st.booleans())
def test_the_worst_layers_the_ends_and_the_quantiles_are_always_told(values, gone, is_whole):
    values = values.copy()
    values.view(np.uint32)[gone] = MISSING.view(np.uint32)
    before = values.tobytes()
    summary = LayerSummary(COLUMNS)
    found = told(summary, values, is_whole)
    assert values.tobytes() == before
    given_values = {
        name: float(value)
        for name, value, missing in zip(COLUMNS, values, is_missing(values), strict=True)
        if not missing
    }
    # Nothing is told that was not given, nor changed
    for name, value in found.items():
        if parse_column(name).quantile is None:
            assert same(value, given_values[name]), name
    if is_whole:
        assert given_values.keys() <= found.keys()
    for name in ("loss", "stream_rms[0]", "stream_rms[1]"):
        assert (name in found) == (name in given_values)
    for series in SERIES:
        here = [given_values[name] for name in per_layer((series,), DEEP) if name in given_values]
        kept = [found[name] for name in per_layer((series,), DEEP) if name in found]
        sign = -1 if is_low_worse(series) else 1
        order = sorted(
            here, key=lambda value: (math.isnan(value), sign * value if not math.isnan(value) else 0)
        )
        for worst in order[-NUM_WORST:]:
            assert any(same(worst, value) for value in kept)
        for end in (f"{series}[0]", f"{series}[{DEEP - 1}]"):
            assert (end in found) == (end in given_values)
        if not is_whole:
            assert len(kept) <= NUM_WORST + 2
        for name, share in zip(quantile_series(series), (0.1, 0.5, 0.9), strict=True):
            if not here:
                assert name not in found
                continue
            # A value that is there; NaN counts as worst
            place = round(share * (len(order) - 1))
            assert same(found[name], order[-1 - place if sign < 0 else place])


def test_a_model_that_is_not_deep_is_told_as_it_is():
    columns = per_layer(("stream_rms",), MAX_WHOLE_LAYERS)
    summary, values = LayerSummary(columns), np.arange(MAX_WHOLE_LAYERS, dtype=np.float32)
    assert summary.columns == columns and summary.of(values, False) is values


def test_only_quantiles_of_layer_signals_are_names_of_the_catalogue():
    column = parse_column("layer_amax_forward_max.p90")
    assert (column.signal, column.reduction, column.quantile) == (
        CATALOGUE["layer_amax_forward"],
        "max",
        "p90",
    )
    for name in ("loss.p90", "layer_amax_forward_max.p91", "mine.p50", "layer_amax_forward_max.p50[3]"):
        assert parse_column(name).signal is None, name


@pytest.fixture
def record(make_model, train_step, tmp_path, read_spool):
    import torch

    def record(num_steps, **options):
        model = make_model(layers=DEEP)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        probe = attach(
            model, optimizer, mode="offline", directory=tmp_path, budget=None, composite_every=1, **options
        )
        for _ in range(num_steps):
            probe.step(train_step(model, optimizer))
        probe.finish()
        assert not probe.faults.counts
        return read_spool(probe).series

    return record


def test_every_tenth_reading_tells_all_layers_and_any_largest_stays_exact(record):
    brief, full = record(21), record(21, layers="all")
    assert "composite_norm_two_max.p50" not in full
    for series in ("layer_amax_forward_mean", "composite_norm_two_max", "composite_smallest_sum_min"):
        names = per_layer((series,), DEEP)
        for step in range(21):
            whole = [full[name][step] for name in names]
            kept = [brief[name][step] for name in names if step in brief[name]]
            largest = min if is_low_worse(series) else max
            assert largest(kept) == largest(whole)
            assert len(kept) == DEEP if step % 10 == 0 else len(kept) <= NUM_WORST + 2
            assert brief[f"{series}.p50"][step] == sorted(whole)[round(0.5 * (DEEP - 1))]
    # The canary looks at all layers before any is left out
    for name in ("canary_gain", "canary_rank", "canary_spread"):
        assert brief[name] == full[name], name


def test_deep_readings_tell_all_layers(record):
    series = record(4, deep=True)
    assert all(list(series[f"layer_amax_forward_max[{layer}]"]) == [0, 1, 2, 3] for layer in range(DEEP))


def test_what_layers_may_be(make_model, tmp_path):
    with pytest.raises(AttachError, match="layers is 'some'; allowed are worst, all"):
        attach(make_model(), mode="offline", directory=tmp_path, layers="some")

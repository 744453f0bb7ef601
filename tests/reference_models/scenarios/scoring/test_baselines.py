"""Baselines against plain walks, one step at a time; and that none of them looks ahead."""

import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.reference_models.scenarios.scoring.recorded import calm
from tests.reference_models.scenarios.scoring.watchers import a_run

from foreshock.reference_models.scenarios.scoring.baselines.drift import has_river
from foreshock.reference_models.scenarios.scoring.baselines.level import LogAmaxLine
from foreshock.reference_models.scenarios.scoring.baselines.published import baselines, missing_baselines
from foreshock.reference_models.scenarios.scoring.baselines.schedule_only import (
    ScheduleOnly,
    cells,
    lived,
)
from foreshock.reference_models.scenarios.scoring.watcher import Attempt
from foreshock.server.detection.block import Block, block_of
from foreshock.server.detection.context import RunContext

ATTEMPT = Attempt("run", "F3", RunContext(total_steps=1500))
BY_NAME = {watcher.name: watcher for watcher in baselines()}
Past = Callable[[list[float], float], float]


def block(seed: int = 0) -> Block:
    """All that any baseline looks at, with gaps, an infinity and outliers."""
    generator = np.random.default_rng(seed)
    loss, norm = calm(seed), np.exp(generator.standard_normal(1500) * 0.3)
    norm[[300, 301, 900]] = (40.0, np.inf, 12.0)
    loss[700:703] += 3.0
    loss[1200] = np.nan
    steps = np.arange(1500)
    gain = np.where(steps % 5 == 0, np.exp(steps / 120), np.nan)
    series = {
        "loss": loss,
        "grad_norm": norm,
        "update_rms": norm * 1e-3,
        "adam_rms": norm,
        "max_attention_logit[0]": steps.astype(float),
        "max_attention_logit[1]": norm,
        "composite_amax_forward_mean[0]": gain,
        "composite_amax_backward_mean[1]": gain * 0.5,
        "learning_rate": 1e-3 * np.cos(steps / 1000),
    }
    return block_of(series, present={"composite_amax_forward_mean[0]": steps % 5 == 0})


def column(of: Block, name: str) -> list[float]:
    values: list[float] = of.values[:, of.columns.place[name]].tolist()
    return values


def walk(values: list[float], window: int, least: int, score: Past) -> NDArray[np.float64]:
    told = []
    for step, value in enumerate(values):
        past = [each for each in values[max(0, step - window) : step] if math.isfinite(each)]
        told.append(math.inf if value == math.inf else math.nan if len(past) < least else score(past, value))
    return np.array(told)


def sigmas(past: list[float], value: float) -> float:
    return (value - statistics.fmean(past)) / statistics.stdev(past)


def scores(name: str, of: Block) -> NDArray[np.float64]:
    return BY_NAME[name].watch(ATTEMPT, (of,)).score_S


def test_sigmas_are_those_of_a_walk() -> None:
    of = block()
    loss, norm, update = (column(of, name) for name in ("loss", "grad_norm", "update_rms"))
    np.testing.assert_allclose(scores("olmo_7_sigma", of), walk(loss, 1000, 128, sigmas), rtol=1e-9)
    both = np.fmax(walk(loss, 128, 64, sigmas), walk(norm, 128, 64, sigmas))
    np.testing.assert_allclose(scores("olmo_core_6_sigma", of), both, rtol=1e-9)
    np.testing.assert_allclose(scores("update_2_sigma", of), walk(update, 128, 64, sigmas), rtol=1e-9)


def test_ratios_are_those_of_a_walk() -> None:
    of = block()
    loss, norm = column(of, "loss"), column(of, "grad_norm")
    by_median = walk(norm, 100, 50, lambda past, value: value / statistics.median(past))
    np.testing.assert_allclose(scores("grad_norm_5_medians", of), by_median, rtol=1e-12)
    by_mean = walk(loss, 100, 50, lambda past, value: value / statistics.fmean(past))
    np.testing.assert_allclose(scores("twice_the_mean", of), by_mean, rtol=1e-12)
    expected = [math.nan] * 100 + [value / max(loss[:100]) for value in loss[100:]]
    np.testing.assert_allclose(scores("ten_times_the_first", of), expected, rtol=1e-12)


def test_zclip_lets_outliers_in_clipped() -> None:
    norms = [1.0, 3.0] * 13
    of = block_of({"grad_norm": [*norms[:25], 100.0, 2.0]})
    mean = statistics.fmean(norms[:25])
    deviation = statistics.pstdev(norms[:25]) + 1e-6
    z = (100.0 - mean) / deviation
    entering = mean + 2.5**2 / z * deviation
    next_mean = 0.97 * mean + 0.03 * entering
    next_variance = 0.97 * (deviation - 1e-6) ** 2 + 0.03 * (entering - next_mean) ** 2
    found = scores("zclip", of)
    assert np.isnan(found[:25]).all()
    assert found[25] == pytest.approx(z)
    assert found[26] == pytest.approx((2.0 - next_mean) / (math.sqrt(next_variance) + 1e-6))


def test_levels_are_held_between_measurements_and_the_worst_layer_counts() -> None:
    of = block()
    assert scores("amax_fixed", of)[[0, 4, 5, 604]] == pytest.approx([1, 1, np.exp(5 / 120), np.exp(5)])
    logits = np.fmax(np.arange(1500), column(of, "max_attention_logit[1]"))
    np.testing.assert_array_equal(scores("max_logit", of), logits)
    np.testing.assert_array_equal(scores("adam_rms", of), column(of, "adam_rms"))


def test_the_line_knows_how_many_steps_are_left() -> None:
    found = LogAmaxLine().watch(ATTEMPT, (block(),)).score_S
    # The gain grows by a factor e every 120 steps: fp16's end comes at step 120 ln 65504
    end = 120 * math.log(65504)
    assert found[1000] == pytest.approx(1 / (end - 1000))
    assert math.isinf(found[int(end) + 5])


@pytest.mark.parametrize("name", BY_NAME)
def test_no_baseline_looks_ahead(name: str) -> None:
    whole, of = scores(name, block()), block()
    assert not np.isnan(whole).all()
    for end in (1, 30, 701, 1201):
        part = scores(name, of.part(0, end))
        assert part.tobytes() == whole[:end].tobytes()


@pytest.mark.parametrize("name", BY_NAME)
def test_nothing_measured_is_silence(name: str) -> None:
    watcher: Any = BY_NAME[name]
    for of in (
        block_of({"own": [1.0] * 60}),
        block_of({"loss": [math.nan] * 60, "grad_norm": [math.nan] * 60}),
    ):
        found = watcher.watch(ATTEMPT, (of,)).score_S
        assert found.shape == (60,)
        assert not (found > (watcher.threshold or 0)).any()


def test_rivers_detectors_answer_at_their_own_setting() -> None:
    river = pytest.importorskip("river.drift")
    losses = calm(3)
    losses[800:] += 2.0
    of = block_of({"loss": losses})
    for name, detector in (
        ("page_hinkley", river.PageHinkley(threshold=50, mode="up")),
        ("adwin", river.ADWIN(delta=0.002)),
    ):
        told = []
        for loss in losses.tolist():
            detector.update(loss)
            told.append(detector.drift_detected)
        threshold = BY_NAME[name].threshold
        assert threshold is not None
        on = scores(name, of) > threshold
        assert (on >= np.array(told)).all()
        # A bolder rung may speak where the published one, which had reset itself, does not
        assert on.any() == any(told)


def test_without_river_its_detectors_are_named_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    where = "foreshock.reference_models.scenarios.scoring.baselines.published.has_river"
    monkeypatch.setattr(where, lambda: False)
    assert {"adwin", "page_hinkley", "half_space_trees"} == missing_baselines().keys()
    assert not {watcher.name for watcher in baselines()} & missing_baselines().keys()
    monkeypatch.setattr(where, lambda: True)
    assert not missing_baselines()
    assert has_river() == ("adwin" in BY_NAME)


def test_the_clock_is_read_off_other_families() -> None:
    flat = block_of({"learning_rate": [1e-3] * 1500})
    cell = cells(ATTEMPT, (flat,))
    assert cell[[0, 74, 75, 1499]].tolist() == [0, 0, 1, 19]
    runs = [a_run(600, family="F3", run_id=f"a{n}") for n in range(4)]
    runs += [a_run(None, family="F4", run_id=f"b{n}") for n in range(4)]
    fitted = ScheduleOnly.fitted([lived(run, cell) for run in runs])
    # F3 is judged by F4, which never failed, and F4 by F3, which always fails at 600
    assert fitted.ahead(runs[0], cell).max() == 0
    ahead = fitted.ahead(runs[4], cell)
    assert ahead[560:600, 1].min() > 0.3 > 0.11 > ahead[300:400, 1].max()


def test_a_rising_rate_is_a_change_of_the_schedule() -> None:
    rates = np.full(1500, 1e-3)
    rates[700:] = 2e-3
    found = cells(ATTEMPT, (block_of({"learning_rate": rates}),)) >= 20
    assert np.flatnonzero(found)[[0, -1]].tolist() == [700, 850]

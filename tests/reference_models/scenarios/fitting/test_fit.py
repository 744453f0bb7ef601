"""The forecaster's model is fitted as scipy would fit it, and learns what was planted."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from foreshock.reference_models.scenarios.fitting import additive
from foreshock.reference_models.scenarios.fitting.additive import fit
from foreshock.reference_models.scenarios.fitting.fit_command import fit_command
from foreshock.reference_models.scenarios.fitting.folds import (
    alarm_threshold,
    by_run,
    structural_threshold,
    unseen_logits,
)
from foreshock.reference_models.scenarios.fitting.pages import pages
from foreshock.reference_models.scenarios.fitting.priors import PRIORS
from foreshock.reference_models.scenarios.fitting.sheet import Sheet
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.server.detection.forecast.features import FEATURES, NUM_FEATURES
from foreshock.server.detection.forecast.fusion import ALARM, HORIZONS, NUM_HEADS, STRUCTURAL, build
from foreshock.server.detection.rules import spike_ahead

TELLING = [feature.name for feature in FEATURES].index("gradient.rise")


def sheet(number: int, onset: int | None) -> Sheet:
    """A run whose gradient norm has risen for a window before its event; all else is noise, or missing."""
    rng = np.random.default_rng(number)
    rows = np.arange(400)
    features = rng.standard_normal((400, NUM_FEATURES))
    features[:, ::3] = np.nan
    features[:, TELLING] = 0.2 * rng.standard_normal(400)
    ahead = np.zeros((400, NUM_HEADS), np.bool_)
    if onset is not None:
        features[onset - 100 : onset, TELLING] += 3.0
        for head, horizon in enumerate(HORIZONS):
            ahead[:, head] = (rows < onset) & (onset - rows <= 100 * horizon)
        ahead[:onset, STRUCTURAL] = True
    run = ScoredRun(f"run-{number}", "F1", "endogenous", "s", None, 400, 400, onset, "divergence")
    counts = (rows >= 20) & (rows < (400 if onset is None else onset))
    return Sheet(run, features, ahead, counts)


@pytest.fixture(scope="module")
def sheets() -> list[Sheet]:
    return [sheet(number, 300 if number % 2 else None) for number in range(20)]


def test_what_was_planted_is_found_and_nothing_takes_danger_away(sheets: list[Sheet]) -> None:
    stored = fit(sheets)
    model = build(stored)
    assert all(one >= 0 for ramps in stored.features.values() for head in ramps.heights for one in head)
    shares = model.shares(sheets[1].features_RF[250], ALARM)
    assert int(np.argmax(shares)) == TELLING and shares[TELLING] > 3
    logits = unseen_logits(sheets, by_run)
    threshold, recall = alarm_threshold(sheets, logits, 0.05)
    assert recall == 1.0 and np.isfinite(threshold)
    peaks = [
        one[20:, STRUCTURAL].max() for one, own in zip(logits, sheets, strict=True) if own.run.onset is None
    ]
    assert sum(peak > structural_threshold(sheets, logits, 0.2) for peak in peaks) <= 2


def test_the_slope_that_is_followed_is_the_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    climbed, ahead = rng.random((50, 4)), (rng.random(50) < 0.3).astype(float)
    held: list[Any] = []

    def look(loss: Any, start: Any, **_: Any) -> Any:
        held.append((loss, start))
        raise InterruptedError

    monkeypatch.setattr(additive, "minimize", look)
    with pytest.raises(InterruptedError):
        towards = additive._Towards(rng.random(4), rng.random(4), rng.random(4))
        additive._logistic(climbed, ahead, rng.random(50) + 0.5, towards)
    (loss, start) = held[0]
    at = start + rng.random(5)
    np.testing.assert_allclose(loss(at)[1], approx_fprime(at, lambda x: loss(x)[0], 1e-7), atol=1e-5)


def test_no_run_is_judged_by_a_model_that_has_seen_it(sheets: list[Sheet]) -> None:
    folds = {by_run(one) for one in sheets}
    assert folds <= {str(number) for number in range(5)} and len(folds) > 1
    own = by_run(sheets[0])
    expected = build(fit([one for one in sheets if by_run(one) != own])).logits(sheets[0].features_RF)
    assert unseen_logits(sheets, by_run)[0].tobytes() == expected.tobytes()


def test_a_folder_without_both_kinds_of_runs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: Any = {"budget": 0.05, "as_json": True}
    assert fit_command(tmp_path, tmp_path / "model.json", apart=None, **asked) == 2
    assert "all with an event or all without" in capsys.readouterr().err
    assert fit_command(tmp_path, tmp_path / "no" / "model.json", apart=None, **asked) == 2
    assert "is no folder" in capsys.readouterr().err
    assert fit_command(tmp_path, tmp_path / "model.json", apart=tmp_path / "no", **asked) == 2
    assert "is no folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_no_run_shows_stays_what_is_known_of_it(sheets: list[Sheet]) -> None:
    left = [feature.name for feature in FEATURES].index("headroom.left")
    blind = [replace(one, features_RF=one.features_RF.copy()) for one in sheets]
    for one in blind:
        one.features_RF[:, left] = np.nan
    heights = fit(blind).features["headroom.left"].heights
    assert heights == [list(PRIORS["headroom.left"].heights)] * NUM_HEADS


def test_what_runs_deny_gives_way(sheets: list[Sheet]) -> None:
    """Here headroom is as low in all healthy runs as it ever is, and never before an event."""
    lack = [feature.name for feature in FEATURES].index("headroom.lack")
    for one in sheets:
        one.features_RF[:, lack] = -10.0 if one.run.onset is not None else -0.5
    heights = np.array(fit(sheets).features["headroom.lack"].heights)
    assert (heights.sum(axis=1) < 0.7 * sum(PRIORS["headroom.lack"].heights)).all()


@dataclass(frozen=True)
class Sight:
    """What the rule reads of a forecast at one step."""

    logits: np.ndarray[Any, Any]
    features: np.ndarray[Any, Any]
    risk: dict[str, float]


@dataclass(frozen=True)
class Outlook:
    """A forecast of one step."""

    sight: Sight
    model: Any
    view: Any

    def at(self, row: int) -> Sight:
        return self.sight


def paged_by_the_rule(
    logit_R: np.ndarray[Any, Any], threshold: float, window: int, monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Where the rule's verdict is news."""
    reasons = SimpleNamespace(say="", signal="", layer=None, eta_steps=None)
    monkeypatch.setattr(spike_ahead, "explain", lambda *_: reasons)
    rule, state, rows = spike_ahead.SpikeAhead(), spike_ahead.SpikeAheadState(), []
    for step, logit in enumerate(logit_R.tolist()):
        risk = dict.fromkeys(("20", "100", "5%", "10%"), 0.5)
        sight = Sight(np.full(NUM_HEADS, logit), np.zeros(NUM_FEATURES), risk)
        outlook = Outlook(sight, SimpleNamespace(alarm=threshold), SimpleNamespace(window=window))
        told = state.told_step
        state, _ = rule.update(cast(Any, SimpleNamespace(step=step, row=0, outlook=outlook)), state)
        if state.told_step != told:
            rows.append(step)
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_the_fit_counts_the_pages_that_the_rule_sends(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    # Levels that last longer than a tick counts, so that a stretch is a stretch for both
    levels = np.repeat(rng.normal(0, 2, 12), rng.integers(25, 60, 12))
    found = pages(levels, 0.4, 40.0)
    assert found == paged_by_the_rule(levels, 0.4, 40, monkeypatch)
    assert seed or found

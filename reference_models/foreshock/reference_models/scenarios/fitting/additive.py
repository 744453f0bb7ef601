"""An additive logistic model of rising ramps, fitted under the bound that nothing takes danger away.

Features with a prior are drawn towards it, all others towards nothing.

Shape suffixes: N samples, F features, H heads, K knots of one feature, P ramps of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from scipy.optimize import minimize

from foreshock.reference_models.scenarios.fitting.priors import PRIORS
from foreshock.reference_models.scenarios.fitting.sheet import Sheet
from foreshock.reference_models.scenarios.scoring.watcher import BoolArray, FloatArray
from foreshock.server.detection.forecast.features import FEATURES
from foreshock.server.detection.forecast.fusion import (
    ALARM,
    HORIZONS,
    MODEL_VERSION,
    NUM_HEADS,
    Model,
    ModelFile,
    Ramps,
    build,
)

# Of healthy rows every fourth is enough, and counts for four
STRIDE: Final = 4
_HEALTHY_CUTS: Final = (0.5, 0.9, 0.99, 0.999)
_ENDANGERED_CUTS: Final = (0.5, 0.8)
# A feature that is known of fewer rows of either kind cannot be placed
_LEAST_ROWS: Final = 50
# Rows with a rate above all that the run has known are rare beyond the warm-up, and count for more
_RARE: Final = "rate.surge"
_RARE_WEIGHT: Final = 8.0
_WARM_UP_ROWS: Final = 100
_PLACE: Final = {feature.name: place for place, feature in enumerate(FEATURES)}
# Draws towards the prior
_TO_PRIOR: Final = 1e-2
# Shrinks many small parts (squares) and drops idle ones (sums)
_SQUARES: Final = 1e-3
_SUMS: Final = 1e-4
_IDLE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows of many runs: features_NF, ahead_NH, weight_N."""

    features_NF: FloatArray
    ahead_NH: BoolArray
    weight_N: FloatArray


def gather(sheets: Sequence[Sheet]) -> Samples:
    """All rows that count near an event, and a part of the others."""
    surge, least = _PLACE[_RARE], PRIORS[_RARE].knots[0]
    parts = []
    for sheet in sheets:
        rows = np.arange(len(sheet.counts_R))
        near_R = sheet.ahead_RH[:, len(HORIZONS) - 1]
        kept = sheet.counts_R & (near_R | (rows % STRIDE == 0))
        weight = np.where(near_R, 1.0, float(STRIDE))
        is_rare = (sheet.features_RF[:, surge] > least) & (rows > _WARM_UP_ROWS)
        weight = np.where(is_rare, _RARE_WEIGHT * weight, weight)
        parts.append((sheet.features_RF[kept], sheet.ahead_RH[kept], weight[kept]))
    features, ahead, weights = zip(*parts, strict=True)
    return Samples(np.concatenate(features), np.concatenate(ahead), np.concatenate(weights))


def fit(sheets: Sequence[Sheet], alarm: float = 0.0, structural: float = 0.0) -> ModelFile:
    """The model of these runs; `alarm` and `structural` are its thresholds, as logits."""
    samples = gather(sheets)
    knots = [_knots(place, samples) for place in range(len(FEATURES))]
    empty = {
        feature.name: Ramps(list(cuts), [[0.0] * (len(cuts) - 1)] * NUM_HEADS)
        for feature, cuts in zip(FEATURES, knots, strict=True)
        if cuts
    }
    frame = build(ModelFile(MODEL_VERSION, [0.0] * NUM_HEADS, empty, alarm, structural))
    climbed_NP = frame.ramps(samples.features_NF)
    towards = _Towards.of(frame)
    fitted = [
        _logistic(climbed_NP, samples.ahead_NH[:, head].astype(np.float64), samples.weight_N, towards)
        for head in range(NUM_HEADS)
    ]
    features = {}
    for name, ramps in empty.items():
        mine = frame.owner == _PLACE[name]
        heights = [[round(float(one), 4) for one in parts[1:][mine]] for parts in fitted]
        if max(map(max, heights)) >= _IDLE:
            features[name] = Ramps(ramps.knots, heights)
    bias = [round(float(parts[0]), 4) for parts in fitted]
    return ModelFile(MODEL_VERSION, bias, features, alarm, structural)


def _knots(place: int, samples: Samples) -> tuple[float, ...]:
    """Where a feature's line bends: as its prior says, else at cuts of healthy rows and of those before an
    event; () if unknown."""
    if (prior := PRIORS.get(FEATURES[place].name)) is not None:
        return prior.knots
    known = np.isfinite(samples.features_NF[:, place])
    values, ahead = samples.features_NF[known, place], samples.ahead_NH[known, ALARM]
    if min(ahead.sum(), (~ahead).sum()) < _LEAST_ROWS:
        return ()
    cuts = (*np.quantile(values[~ahead], _HEALTHY_CUTS), *np.quantile(values[ahead], _ENDANGERED_CUTS))
    found = np.unique(np.round(cuts, 4))
    return tuple(found.tolist()) if len(found) > 1 else ()


@dataclass(frozen=True, slots=True)
class _Towards:
    """What the parts [P] are drawn to: their prior height, by how much, and how much their sum costs."""

    height_P: FloatArray
    squares_P: FloatArray
    sums_P: FloatArray

    @classmethod
    def of(cls, frame: Model) -> Self:
        """The priors as the model's ramps have them."""
        height, has_prior = np.zeros(len(frame.owner)), np.zeros(len(frame.owner), np.bool_)
        for name, prior in PRIORS.items():
            mine = frame.owner == _PLACE[name]
            height[mine], has_prior[mine] = prior.heights, True
        return cls(height, np.where(has_prior, _TO_PRIOR, _SQUARES), np.where(has_prior, 0.0, _SUMS))


def _logistic(
    climbed_NP: FloatArray, ahead_N: FloatArray, weight_N: FloatArray, towards: _Towards
) -> FloatArray:
    """Bias and heights [1 + P], all heights at least 0."""
    share_N = weight_N / weight_N.sum()
    base = float(np.clip(share_N @ ahead_N, 1e-6, 1 - 1e-6))

    def loss(parts: FloatArray) -> tuple[float, FloatArray]:
        logit_N = parts[0] + climbed_NP @ parts[1:]
        error_N = share_N * (1 / (1 + np.exp(-logit_N)) - ahead_N)
        value = share_N @ (np.logaddexp(0.0, logit_N) - ahead_N * logit_N)
        away_P = parts[1:] - towards.height_P
        value += (towards.squares_P * away_P) @ away_P / 2 + towards.sums_P @ parts[1:]
        slope = climbed_NP.T @ error_N + towards.squares_P * away_P + towards.sums_P
        return float(value), np.concatenate(([error_N.sum()], slope))

    # A start beside the solution: the priors, and a little of what has none
    heights = np.where(towards.sums_P > 0, 0.1, towards.height_P)
    start = np.concatenate(([np.log(base / (1 - base)) - 2], heights))
    bounds: list[Any] = [(None, None)] + [(0.0, None)] * len(heights)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300})
    parts: FloatArray = found.x
    return parts

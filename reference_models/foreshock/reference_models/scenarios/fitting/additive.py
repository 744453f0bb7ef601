"""An additive logistic model of rising ramps, fitted under the bound that nothing takes danger away.

Shape suffixes: N samples, F features, H heads, K knots of one feature, P ramps of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.optimize import minimize

from foreshock.reference_models.scenarios.fitting.sheet import Sheet
from foreshock.reference_models.scenarios.scoring.watcher import BoolArray, FloatArray
from foreshock.server.detection.forecast.features import FEATURES
from foreshock.server.detection.forecast.fusion import (
    ALARM,
    HORIZONS,
    MODEL_VERSION,
    NUM_HEADS,
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
# A rate above all that the run has known: too rare for quantiles, so its knots are given, in nats
_GIVEN_KNOTS: Final = {"rate.surge": (0.1, 0.2, 0.3, 0.6)}
# Rows of that rare state, beyond the warm-up, count for more
_RARE_WEIGHT: Final = 8.0
_WARM_UP_ROWS: Final = 100
_PLACE: Final = {feature.name: place for place, feature in enumerate(FEATURES)}
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
    surge = _PLACE["rate.surge"]
    parts = []
    for sheet in sheets:
        rows = np.arange(len(sheet.counts_R))
        near_R = sheet.ahead_RH[:, len(HORIZONS) - 1]
        kept = sheet.counts_R & (near_R | (rows % STRIDE == 0))
        weight = np.where(near_R, 1.0, float(STRIDE))
        is_rare = (sheet.features_RF[:, surge] > _GIVEN_KNOTS["rate.surge"][0]) & (rows > _WARM_UP_ROWS)
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
    fitted = [
        _logistic(climbed_NP, samples.ahead_NH[:, head].astype(np.float64), samples.weight_N)
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
    """Where a feature's line bends: at cuts of healthy rows and of those before an event; () if unknown."""
    if (given := _GIVEN_KNOTS.get(FEATURES[place].name)) is not None:
        return given
    known = np.isfinite(samples.features_NF[:, place])
    values, ahead = samples.features_NF[known, place], samples.ahead_NH[known, ALARM]
    if min(ahead.sum(), (~ahead).sum()) < _LEAST_ROWS:
        return ()
    cuts = (*np.quantile(values[~ahead], _HEALTHY_CUTS), *np.quantile(values[ahead], _ENDANGERED_CUTS))
    found = np.unique(np.round(cuts, 4))
    return tuple(found.tolist()) if len(found) > 1 else ()


def _logistic(climbed_NP: FloatArray, ahead_N: FloatArray, weight_N: FloatArray) -> FloatArray:
    """Bias and heights [1 + P], all heights at least 0."""
    share_N = weight_N / weight_N.sum()
    base = float(np.clip(share_N @ ahead_N, 1e-6, 1 - 1e-6))

    def loss(parts: FloatArray) -> tuple[float, FloatArray]:
        logit_N = parts[0] + climbed_NP @ parts[1:]
        error_N = share_N * (1 / (1 + np.exp(-logit_N)) - ahead_N)
        value = share_N @ (np.logaddexp(0.0, logit_N) - ahead_N * logit_N)
        value += _SQUARES * (parts[1:] @ parts[1:]) / 2 + _SUMS * parts[1:].sum()
        slope = climbed_NP.T @ error_N + _SQUARES * parts[1:] + _SUMS
        return float(value), np.concatenate(([error_N.sum()], slope))

    count = climbed_NP.shape[1]
    start = np.concatenate(([np.log(base / (1 - base)) - 1], np.full(count, 0.1)))
    bounds: list[Any] = [(None, None)] + [(0.0, None)] * count
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300})
    parts: FloatArray = found.x
    return parts

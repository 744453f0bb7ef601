"""river's detectors of drift and anomaly on the loss. Needs `river`, which the extra `bench` brings.

PageHinkley and ADWIN say yes or no at a setting. To re-threshold them a ladder of settings runs side by
side: the score is the boldest rung that says yes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from foreshock.reference_models.scenarios.scoring.baselines.windows import series
from foreshock.reference_models.scenarios.scoring.watcher import Attempt, FloatArray, Watch
from foreshock.server.detection.block import Block

PAGE_HINKLEY = 50.0
ADWIN = 0.002


def has_river() -> bool:
    """Whether the library is installed."""
    return find_spec("river") is not None


@dataclass(frozen=True, slots=True)
class Drift:
    """A ladder of one detector: rungs of (score, setting), the published one's score is the threshold.

    The alarm is on where the score is above the threshold, so that is set just below the rung.
    """

    name: str
    source: str
    kind: Literal["page_hinkley", "adwin"]
    rungs: tuple[float, ...]
    threshold: float | None

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        """The boldest rung at which a change is told, 0 where none does, NaN without a loss."""
        losses_S = series(blocks, "loss")
        score_S = np.where(np.isfinite(losses_S), 0.0, np.nan)
        for rung in self.rungs:
            score_S = np.where(_changes(self._make(rung), losses_S), rung, score_S)
        return Watch(score_S)

    def _make(self, rung: float) -> Any:
        from river import drift

        if self.kind == "adwin":
            return drift.ADWIN(delta=1 / rung)
        return drift.PageHinkley(threshold=rung, mode="up")


def page_hinkley() -> Drift:
    """Page-Hinkley, upwards; its score is lambda."""
    rungs = (0.1, 0.3, 1.0, 3.0, 10.0, PAGE_HINKLEY, 200.0)
    return Drift("page_hinkley", "river, lambda 50", "page_hinkley", rungs, math.nextafter(PAGE_HINKLEY, 0))


def adwin() -> Drift:
    """ADWIN; its score is 1 / delta."""
    published = 1 / ADWIN
    rungs = (10.0, 50.0, published, 1e5, 1e8, 1e12, 1e20)
    return Drift("adwin", "river, delta 0.002", "adwin", rungs, math.nextafter(published, 0))


def _changes(detector: Any, losses_S: FloatArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    told = np.zeros(len(losses_S), np.bool_)
    update: Callable[[float], None] = detector.update
    for row, loss in enumerate(losses_S.tolist()):
        if math.isfinite(loss):
            update(loss)
            told[row] = detector.drift_detected
    return told


@dataclass(frozen=True, slots=True)
class HalfSpaceTrees:
    """Half-space trees on the loss and the gradient norm, scaled by their range so far.

    The library publishes no threshold.
    """

    name: str = "half_space_trees"
    source: str = "river; no published threshold"
    threshold: float | None = None
    seed: int = 42

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        """The anomaly score, 0 to 1; NaN where the loss or the norm is not finite."""
        from river import anomaly, preprocessing

        scaler, trees = preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=self.seed)
        losses_S, norms_S = series(blocks, "loss"), series(blocks, "grad_norm")
        score_S = np.full(len(losses_S), np.nan)
        for row, (loss, norm) in enumerate(zip(losses_S.tolist(), norms_S.tolist(), strict=True)):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                continue
            values = {"loss": loss, "grad_norm": norm}
            scaler.learn_one(values)
            scaled = scaler.transform_one(values)
            score_S[row] = trees.score_one(scaled)
            trees.learn_one(scaled)
        return Watch(score_S)

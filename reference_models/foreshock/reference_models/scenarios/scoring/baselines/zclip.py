"""ZClip: the gradient norm against exponential averages that outliers enter clipped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreshock.reference_models.scenarios.scoring.baselines.windows import series
from foreshock.reference_models.scenarios.scoring.watcher import Attempt, FloatArray, Watch
from foreshock.server.detection.block import Block


@dataclass(frozen=True, slots=True)
class ZClip:
    """z of the gradient norm, arXiv:2504.02507: an outlier enters the averages as `limit`^2 / z sigmas."""

    name: str = "zclip"
    source: str = "ZClip, arXiv:2504.02507"
    threshold: float | None = 2.5
    decay: float = 0.97
    warmup: int = 25

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        """z at each step, NaN in the warm-up."""
        return Watch(self.z(series(blocks, "grad_norm")))

    def z(self, norms_S: FloatArray) -> FloatArray:
        """The same from the norms [S]."""
        limit = 2.5 if self.threshold is None else self.threshold
        z_S = np.full(len(norms_S), np.nan)
        first: list[float] = []
        mean = variance = math.nan
        for row, norm in enumerate(norms_S.tolist()):
            if not math.isfinite(norm):
                z_S[row] = math.inf if norm == math.inf else math.nan
                continue
            if len(first) < self.warmup:
                first.append(norm)
                mean, variance = float(np.mean(first)), float(np.var(first))
                continue
            deviation = math.sqrt(variance) + 1e-6
            z = (norm - mean) / deviation
            z_S[row] = z
            entering = mean + limit**2 / z * deviation if z > limit else norm
            mean = self.decay * mean + (1 - self.decay) * entering
            variance = self.decay * variance + (1 - self.decay) * (entering - mean) ** 2
        return z_S

"""Values so many standard deviations above those before them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreshock.reference_models.scenarios.scoring.baselines.windows import series, sigmas
from foreshock.reference_models.scenarios.scoring.watcher import Attempt, Watch
from foreshock.server.detection.block import Block


@dataclass(frozen=True, slots=True)
class Sigma:
    """The most deviant of some signals against their own last `window` values; silent before `least`."""

    name: str
    source: str
    signals: tuple[str, ...]
    window: int
    least: int
    threshold: float | None

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        """Standard deviations above the mean."""
        scores = [sigmas(series(blocks, signal), self.window, self.least) for signal in self.signals]
        return Watch(np.fmax.reduce(scores, axis=0))

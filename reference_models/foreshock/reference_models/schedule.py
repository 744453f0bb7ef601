"""The learning rate over a run: a linear warm-up, then a cosine."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Rises linearly to `peak` over `warmup_steps`, then falls along a cosine to `floor_ratio * peak`."""

    peak: float
    warmup_steps: int
    total_steps: int
    floor_ratio: float = 0.1

    def __call__(self, step: int) -> float:
        """The rate of `step`, counted from 0; the warm-up's last step has the peak."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
        return self.peak * (self.floor_ratio + (1.0 - self.floor_ratio) * cosine)

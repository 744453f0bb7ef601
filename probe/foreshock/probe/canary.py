"""The layer-0 canary: does layer 0 move first, how far ahead, and how deep has the move spread."""

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foreshock.wire import CATALOGUE

_WINDOW_STEPS: Final = 50
_MIN_STEPS: Final = 10
# Slower growth than this in log gain a step is rest, not movement
_SLOPE_FLOOR: Final = 1e-6


@dataclass(frozen=True, slots=True)
class CanaryReading:
    """None where there is no answer yet: no movement to rank, no crossing to compare."""

    gain: float
    rank: float | None
    lead_steps: float | None
    spread: float


class Canary:
    """Follows every layer's gain over steps; runs in the writer's thread.

    A layer has left its band at the first step at which its gain, the worse of both directions and
    mean over tokens, lies outside the catalogue's healthy band. Rank 1 means that no layer's log
    gain has a steeper least-squares slope over the last 50 steps.
    """

    def __init__(self, num_layers: int) -> None:
        band = CATALOGUE["canary_gain"].healthy
        assert band is not None
        self._band = band
        self._steps: deque[int] = deque(maxlen=_WINDOW_STEPS)
        self._log_gains: deque[NDArray[np.float64]] = deque(maxlen=_WINDOW_STEPS)
        self._left_at = np.full(num_layers, np.nan)

    def update(self, step: int, gain_L: NDArray[np.float64]) -> CanaryReading:
        """Takes each layer's gain at a step; NaN and Inf count as outside the band."""
        with np.errstate(divide="ignore", invalid="ignore"):
            self._log_gains.append(np.log(gain_L))
            outside = ~((gain_L >= self._band.low) & (gain_L <= self._band.high))
        self._steps.append(step)
        self._left_at[outside & np.isnan(self._left_at)] = step
        return CanaryReading(float(gain_L[0]), self._rank(), self._lead(), self._spread())

    def _rank(self) -> float | None:
        if len(self._steps) < _MIN_STEPS:
            return None
        steps = np.array(self._steps, np.float64)
        centred = steps - steps.mean()
        with np.errstate(invalid="ignore", over="ignore"):
            slopes = centred @ np.stack(self._log_gains) / (centred @ centred)
        if not np.isfinite(slopes[0]) or slopes[0] < _SLOPE_FLOOR:
            return None
        return 1.0 + float(np.sum(slopes > slopes[0]))

    def _lead(self) -> float | None:
        """Steps between layer 0's leaving and the median layer's; None until both have left."""
        num_left = np.count_nonzero(~np.isnan(self._left_at))
        middle = len(self._left_at) // 2
        if np.isnan(self._left_at[0]) or num_left <= middle:
            return None
        return float(np.sort(self._left_at)[middle] - self._left_at[0])

    def _spread(self) -> float:
        if np.isnan(self._left_at[0]):
            return -1.0
        with np.errstate(invalid="ignore"):
            followers = np.flatnonzero(self._left_at[1:] >= self._left_at[0]) + 1
        return float(followers[-1]) if len(followers) else 0.0

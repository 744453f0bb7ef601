"""Fixed limits on a signal, and the straight line that foretells when one is reached."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreshock.reference_models.scenarios.scoring.baselines.windows import past, series
from foreshock.reference_models.scenarios.scoring.watcher import Attempt, FloatArray, Watch
from foreshock.server.detection.block import Block

FP16_LARGEST = 65504.0


@dataclass(frozen=True, slots=True)
class Level:
    """The largest of a signal over layers against a fixed limit."""

    name: str
    source: str
    signal: str
    threshold: float | None

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        """The signal itself, the last known where a step has none."""
        return Watch(held(series(blocks, self.signal)))


@dataclass(frozen=True, slots=True)
class CompositeAmax:
    """The worst composite amax of both directions against a fixed limit, as the documents have it."""

    name: str = "amax_fixed"
    source: str = "mHC documents: Amax over 10"
    threshold: float | None = 10.0

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        """The gain; past float64's range it is infinite."""
        with np.errstate(over="ignore"):
            return Watch(np.exp(held(log_amax(blocks))))


@dataclass(frozen=True, slots=True)
class LogAmaxLine:
    """A least-squares line through the log of the composite amax: the pace at which fp16's end comes near.

    The score is 1 over the steps that are left at the line's slope; the threshold stands for 100 of them.
    """

    name: str = "log_amax_line"
    source: str = "linear extrapolation of log Amax to fp16's range, within 100 steps"
    threshold: float | None = 0.01
    window: int = 50
    least: int = 10
    limit: float = math.log(FP16_LARGEST)

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        """Share of the way that is left which each step covers; infinite once it is covered."""
        log_S = log_amax(blocks)
        steps_S = np.concatenate([block.steps for block in blocks]).astype(np.float64)
        slope_S = _slopes(steps_S, log_S, self.window, self.least)
        left_S = self.limit - held(log_S)
        with np.errstate(divide="ignore", invalid="ignore"):
            pace_S = np.maximum(slope_S, 0.0) / left_S
        return Watch(held(np.where(left_S <= 0, np.inf, pace_S)))


def log_amax(blocks: Sequence[Block]) -> FloatArray:
    """Natural log of the worst composite amax, mean over tokens, over layers and directions, [S]."""
    both = []
    for direction in ("forward", "backward"):
        name = f"composite_amax_{direction}_mean"
        with np.errstate(divide="ignore", invalid="ignore"):
            direct_S = np.log(series(blocks, name))
        both.append(np.where(np.isfinite(direct_S), direct_S, series(blocks, f"log_{name}")))
    worst: FloatArray = np.fmax(*both)
    return worst


def held(values_S: FloatArray) -> FloatArray:
    """The last known value where a step has none: slow signals come every few steps."""
    known = np.where(np.isnan(values_S), -1, np.arange(len(values_S)))
    last = np.maximum.accumulate(known) if len(known) else known
    return np.where(last >= 0, values_S[np.maximum(last, 0)], np.nan) if len(known) else values_S


def _slopes(steps_S: FloatArray, values_S: FloatArray, window: int, least: int) -> FloatArray:
    """Slope of the line through the finite values among the last `window` steps, the step's own with them."""
    finite_S = np.where(np.isfinite(values_S), values_S, np.nan)
    # `past` ends before its step: shifted by one it ends with it
    y = past(np.append(finite_S, np.nan), window)[1:]
    x = past(np.append(steps_S, np.nan), window)[1:]
    known = ~np.isnan(y)
    count = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        x_mean = np.where(known, x, 0.0).sum(axis=1) / count
        y_mean = np.where(known, y, 0.0).sum(axis=1) / count
        dx = np.where(known, x - x_mean[:, None], 0.0)
        dy = np.where(known, y - y_mean[:, None], 0.0)
        slope = (dx * dy).sum(axis=1) / (dx * dx).sum(axis=1)
    return np.where(count >= least, slope, np.nan)

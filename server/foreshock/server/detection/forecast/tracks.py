"""What each channel has been doing: exponential means over three spans, its noise, its floor.

All are linear recursions over steps, run by one compiled loop over a whole block, with their state
carried from block to block: the numbers are the same however the steps were cut. A step at which a
channel has no value moves nothing but the weights of the past; a channel that has had none for some
eight spans has no mean either.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from foreshock.server.detection.context import IndexArray, RunContext
from foreshock.server.detection.forecast.channels import NUM_CHANNELS
from foreshock.server.detection.sample import FloatArray, StepArray

SHORTEST_WINDOW: Final = 20
LONGEST_WINDOW: Final = 200
# The spans of the means, in windows
FAST: Final = 1 / 8
MIDDLE: Final = 1 / 2
SLOW: Final = 2.0
# A mean made of less than this share of one new value's weight is no news any more
_STALE: Final = 1e-3
WARM_UP_SHARE: Final = 0.02


def window_steps(context: RunContext) -> int:
    """The window of a run: a tenth of it, 20 to 200 steps; 200 where its length is unknown."""
    return max(SHORTEST_WINDOW, context.share_of_run(0.1, LONGEST_WINDOW))


class TracksState(msgspec.Struct, frozen=True):
    """Everything that tracks remember of the channels that have had a value; arrays as bytes.

    seen: bool [channels]. filters: float64 [spans, 2, seen]. edges: float64 [3, seen]: the middle mean
    of the last step, floor, ceiling.
    """

    seen: bytes
    filters: bytes
    edges: bytes
    num_steps: int


@dataclass(frozen=True, slots=True)
class View:
    """A block's tracks [S, channels]: means over the three spans, noise (mean absolute difference
    from the middle mean of the step before) over one and an eighth of a window, the lowest fast
    mean since the warm-up, and the highest of all."""

    now: FloatArray
    fast: FloatArray
    middle: FloatArray
    slow: FloatArray
    noise: FloatArray
    fresh_noise: FloatArray
    floor: FloatArray
    ceiling: FloatArray
    window: int

    def part(self, rows: StepArray) -> "View":
        """Some of the steps."""
        return View(
            self.now[rows],
            self.fast[rows],
            self.middle[rows],
            self.slow[rows],
            self.noise[rows],
            self.fresh_noise[rows],
            self.floor[rows],
            self.ceiling[rows],
            self.window,
        )


class Tracks:
    """Follows all channels of one run."""

    def __init__(self, context: RunContext) -> None:
        self.window = window_steps(context)
        self._warm_up = context.share_of_run(WARM_UP_SHARE, SHORTEST_WINDOW)
        self._gains = [2.0 / (share * self.window + 1.0) for share in (FAST, MIDDLE, SLOW, 1.0, FAST)]
        # For each span the filter of the weighted sum and that of the weights
        self._filters: FloatArray = np.zeros((len(self._gains), 2, NUM_CHANNELS))
        self._previous: FloatArray = np.full(NUM_CHANNELS, np.nan)
        self._floor: FloatArray = np.full(NUM_CHANNELS, np.inf)
        self._ceiling: FloatArray = np.full(NUM_CHANNELS, -np.inf)
        self.num_steps = 0

    def advance(self, values: FloatArray) -> View:
        """Follows values [S, channels] on from where the last block ended."""
        # Most runs lack half of the channels, which then have nothing to follow
        live = np.flatnonzero(np.isfinite(values).any(axis=0) | np.isfinite(self._ceiling))
        followed = self._follow(values[:, live], live)
        fast, middle, slow, noise, fresh, floor, ceiling = (
            _among(values.shape, live, of_live) for of_live in followed
        )
        return View(values, fast, middle, slow, noise, fresh, floor, ceiling, self.window)

    def _follow(self, values: FloatArray, live: IndexArray) -> tuple[FloatArray, ...]:
        """Of live channels what a view tells, from the fast mean to the ceiling, each [S, live]."""
        fast, middle, slow = (self._mean(span, values, live) for span in range(3))
        before = np.vstack((self._previous[live], middle[:-1]))
        distance = np.abs(values - before)
        noise, fresh = self._mean(3, distance, live), self._mean(4, distance, live)
        self._previous[live] = middle[-1]
        is_known = np.isfinite(fast)
        counted = self.num_steps + np.arange(len(values))[:, None] >= self._warm_up
        floor = np.where(counted & is_known, fast, np.inf)
        floor[0] = np.minimum(floor[0], self._floor[live])
        np.minimum.accumulate(floor, axis=0, out=floor)
        ceiling = np.where(is_known, fast, -np.inf)
        ceiling[0] = np.maximum(ceiling[0], self._ceiling[live])
        np.maximum.accumulate(ceiling, axis=0, out=ceiling)
        self._floor[live], self._ceiling[live] = floor[-1], ceiling[-1]
        self.num_steps += len(values)
        floor[np.isinf(floor)] = np.nan
        ceiling[np.isinf(ceiling)] = np.nan
        return fast, middle, slow, noise, fresh, floor, ceiling

    def _mean(self, span: int, values: FloatArray, live: IndexArray) -> FloatArray:
        gain = self._gains[span]
        known = np.isfinite(values)
        told = np.stack((np.where(known, values, 0.0), known), axis=1)
        filtered, self._filters[span][:, live] = _filter(gain, told, self._filters[span][:, live])
        top, weight = filtered[:, 0], filtered[:, 1]
        mean = np.full(values.shape, np.nan)
        np.divide(top, weight, out=mean, where=weight > gain * _STALE)
        return mean

    def state(self) -> TracksState:
        """What `restore` goes on from, as if nothing had happened."""
        seen = np.isfinite(self._ceiling)
        edges = np.stack((self._previous, self._floor, self._ceiling))
        return TracksState(
            seen.tobytes(), self._filters[..., seen].tobytes(), edges[:, seen].tobytes(), self.num_steps
        )

    def restore(self, state: TracksState) -> None:
        """Takes over a stored state."""
        seen = np.frombuffer(state.seen, np.bool_)
        count = int(seen.sum())
        self._filters[..., seen] = np.frombuffer(state.filters).reshape(len(self._gains), 2, count)
        edges = np.frombuffer(state.edges).reshape(3, count)
        self._previous[seen], self._floor[seen], self._ceiling[seen] = edges
        self.num_steps = state.num_steps


def _filter(gain: float, values: FloatArray, state: FloatArray) -> tuple[FloatArray, FloatArray]:
    """y = gain x + (1 - gain) y' down each column, and what the next block starts from."""
    # It brings much of SciPy along: a collector starts without it, and its judge fetches it
    from scipy.signal import lfilter

    filtered, end = lfilter([gain], [1.0, gain - 1.0], values, axis=0, zi=state[None])
    return filtered, end[0]


def _among(shape: tuple[int, ...], live: IndexArray, of_live: FloatArray) -> FloatArray:
    """The values [S, live] in their places among all channels."""
    found = np.full(shape, np.nan)
    found[:, live] = of_live
    return found

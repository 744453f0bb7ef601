"""What the forecast is made of: features in which more is never better.

A feature is a change, a rise or a level of one channel, in the channel's own unit over the run's
window, turned so that danger grows with it. NaN says nothing. Learning rates, sizes and lengths of
runs do not appear as such: a feature must mean the same in a run of any size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from foreshock.server.detection.forecast.channels import CHANNELS, PLACE
from foreshock.server.detection.forecast.tracks import FAST, MIDDLE, SLOW, View
from foreshock.server.detection.sample import FloatArray

Compute = Callable[[View, int], FloatArray]
_LEAST: Final = 1e-9
# Doublings a step below this are none
_LEAST_PACE: Final = 1e-4
_FAR_STEPS: Final = 1e4


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of one channel: its name, its words and how it is computed [S]."""

    name: str
    channel: str
    words: str
    compute: Compute


def _rise(view: View, place: int) -> FloatArray:
    """How far the fast mean is above its lowest."""
    return view.fast[:, place] - view.floor[:, place]


def _rise_in_noise(view: View, place: int) -> FloatArray:
    """The same, counted in the channel's own noise."""
    return _rise(view, place) / (view.noise[:, place] + _LEAST)


def _pace(view: View, place: int) -> FloatArray:
    """The newest change, over a window."""
    return (view.fast[:, place] - view.middle[:, place]) / ((MIDDLE - FAST) / 2)


def _trend(view: View, place: int) -> FloatArray:
    """The change of the last windows, over a window."""
    return (view.middle[:, place] - view.slow[:, place]) / ((SLOW - MIDDLE) / 2)


def _level(view: View, place: int) -> FloatArray:
    """The fast mean itself."""
    return view.fast[:, place]


def _lack(view: View, place: int) -> FloatArray:
    """The fast mean, where less is worse."""
    return -view.fast[:, place]


def _noise(view: View, place: int) -> FloatArray:
    """How noisy the channel is."""
    return view.noise[:, place]


def _noise_rise(view: View, place: int) -> FloatArray:
    """How much noisier it is now than over the window."""
    return np.log((view.fresh_noise[:, place] + _LEAST) / (view.noise[:, place] + _LEAST))


def _windows_left(view: View, place: int, earlier: FloatArray, lag: float) -> FloatArray:
    """When a falling channel is at 0, by its pace: the logarithm of the windows until then, turned."""
    pace = (earlier - view.fast[:, place]) / (lag * view.window)
    left = np.maximum(view.fast[:, place], 0.0) / np.maximum(pace, _LEAST_PACE)
    return -np.log((np.minimum(left, _FAR_STEPS) + 1.0) / view.window)


def _windows_left_fast(view: View, place: int) -> FloatArray:
    return _windows_left(view, place, view.middle[:, place], (MIDDLE - FAST) / 2)


def _windows_left_slow(view: View, place: int) -> FloatArray:
    return _windows_left(view, place, view.slow[:, place], (SLOW - FAST) / 2)


def _surge(view: View, place: int) -> FloatArray:
    """How far the newest value is over all that the run has known."""
    return view.now[:, place] - view.ceiling[:, place]


_KINDS: Final[dict[str, tuple[str, Compute]]] = {
    "rise": ("above its lowest", _rise),
    "rise_in_noise": ("above its lowest, in its own noise", _rise_in_noise),
    "pace": ("change at the newest pace, over a window", _pace),
    "trend": ("change over a window", _trend),
    "level": ("level", _level),
    "lack": ("level", _lack),
    "noise": ("noise", _noise),
    "noise_rise": ("noise now beside the window's", _noise_rise),
    "left": ("windows left at the newest pace", _windows_left_fast),
    "left_slow": ("windows left at the windows' pace", _windows_left_slow),
    "surge": ("over all that the run has known", _surge),
}
_WANTED: Final = {
    "loss": ("rise", "rise_in_noise", "pace", "trend", "noise_rise"),
    "gradient": ("rise", "rise_in_noise", "pace", "trend", "noise", "noise_rise"),
    "rate": ("surge",),
    "clipping": ("noise",),
    "stream": ("rise", "pace", "trend", "noise_rise"),
    "peak": ("rise", "pace", "trend", "noise_rise"),
    "headroom": ("lack", "left", "left_slow"),
    "composite": ("level", "pace", "trend", "noise"),
    "layer": ("level", "trend"),
    "embedding": ("rise", "pace", "trend"),
    "normalised": ("rise", "pace", "trend"),
    "attention": ("level", "pace", "trend"),
    "partition": ("rise", "trend"),
    "update": ("rise", "pace", "trend"),
    "adam": ("level", "lack", "noise"),
    "direction": ("lack",),
    "trust": ("lack",),
    "violation": ("level", "trend"),
    "entropy": ("lack",),
    "dead": ("level",),
    "staleness": ("level",),
    "margin": ("lack",),
    "swiglu": ("lack",),
}


def _features() -> tuple[Feature, ...]:
    return tuple(
        Feature(f"{channel.name}.{kind}", channel.name, *_KINDS[kind])
        for channel in CHANNELS
        for kind in _WANTED[channel.name]
    )


FEATURES: Final = _features()
NUM_FEATURES: Final = len(FEATURES)


def compute_features(view: View) -> FloatArray:
    """The features [S, features] of a view's steps."""
    found = np.empty((len(view.now), NUM_FEATURES))
    for place, feature in enumerate(FEATURES):
        found[:, place] = feature.compute(view, PLACE[feature.channel])
    return found

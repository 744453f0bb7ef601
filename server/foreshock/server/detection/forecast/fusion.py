"""Features into risk: an additive model in which every feature can only add danger.

The logit of each head is a bias plus, for each feature, a piecewise linear function that rises from 0 and
levels off: what a feature adds is what it is to blame for, so the reasons of a warning are the model
itself, and no value however wild adds more than its share. A feature that is NaN adds nothing.

    heads       a spike or divergence within 1/8, 1/2, 1 and 2 windows; and a divergence at any time
    risk        of any horizon: the cumulative hazard -log(1 - p) drawn linearly between the heads
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from foreshock.server.detection.forecast.features import FEATURES
from foreshock.server.detection.sample import FloatArray

MODEL_VERSION: Final = 2
# Horizons of the event heads, in windows; the last head is the structural one
HORIZONS: Final = (0.125, 0.5, 1.0, 2.0)
NUM_HEADS: Final = len(HORIZONS) + 1
# The head that decides on an alarm: a spike or divergence within one window
ALARM: Final = 2
STRUCTURAL: Final = NUM_HEADS - 1
SHIPPED: Final = "model.json"


class Ramps(msgspec.Struct, frozen=True):
    """One feature's part: knots [k + 1] where its lines meet, and how much each adds [heads, k]."""

    knots: list[float]
    heights: list[list[float]]


class ModelFile(msgspec.Struct, frozen=True):
    """A fitted model as it is stored.

    scale: the slope of each head's calibration; bias: of the calibrated logit.
    alarm, structural: logits from which an alert is critical, and a risk is structural.
    made: of what and how it was fitted.
    """

    version: int
    bias: list[float]
    features: dict[str, Ramps]
    alarm: float
    structural: float
    made: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Model:
    """A model ready to use: all ramps of all features in one row.

    owner [R]: the feature of each ramp; start, width [R]; heights [R, heads]; bias [heads].
    """

    owner: NDArray[np.intp]
    start: FloatArray
    width: FloatArray
    heights: FloatArray
    bias: FloatArray
    alarm: float
    structural: float

    def ramps(self, features: FloatArray) -> FloatArray:
        """How far each ramp is climbed [S, R], 0 to 1, by features [S, features]."""
        climbed: FloatArray = features[:, self.owner]
        climbed -= self.start
        climbed /= self.width
        # Of NaN and a number fmax and fmin take the number
        np.fmax(climbed, 0.0, out=climbed)
        np.fmin(climbed, 1.0, out=climbed)
        return climbed

    def logits(self, features: FloatArray) -> FloatArray:
        """The heads' logits [S, heads]."""
        # Summed feature by feature, so that no sum depends on how many rows there are
        logits: FloatArray = np.einsum("sr,rh->sh", self.ramps(features), self.heights) + self.bias
        return logits

    def shares(self, features: FloatArray, head: int) -> FloatArray:
        """What each feature adds to one head's logit [features], of one step's features [features]."""
        added = self.ramps(features[None])[0] * self.heights[:, head]
        shares: FloatArray = np.zeros(len(FEATURES))
        np.add.at(shares, self.owner, added)
        return shares


def risks(logits: FloatArray, horizons: FloatArray) -> FloatArray:
    """The risk [S, horizons] within each horizon, in windows, from logits [S, heads]."""
    hazards = np.logaddexp(0.0, logits[:, : len(HORIZONS)])
    # A longer horizon holds the shorter ones
    hazards = np.maximum.accumulate(hazards, axis=1)
    hazards = np.concatenate((np.zeros((len(hazards), 1)), hazards), axis=1)
    at = np.concatenate(((0.0,), HORIZONS))
    place = np.clip(np.searchsorted(at, horizons) - 1, 0, len(HORIZONS) - 1)
    # Beyond two windows nothing was fitted: what is ahead there is at least what is ahead until then
    share = np.minimum((horizons - at[place]) / (at[place + 1] - at[place]), 1.0)
    drawn = hazards[:, place] + share * (hazards[:, place + 1] - hazards[:, place])
    risk: FloatArray = -np.expm1(-drawn)
    return risk


def build(stored: ModelFile) -> Model:
    """A model from its file's content; raises ValueError where they do not fit this version."""
    known = {feature.name: place for place, feature in enumerate(FEATURES)}
    if stored.version != MODEL_VERSION or len(stored.bias) != NUM_HEADS:
        raise ValueError(
            f"the model is of version {stored.version} with {len(stored.bias)} heads; this foreshock "
            f"reads version {MODEL_VERSION} with {NUM_HEADS}: fit it again"
        )
    unknown = sorted(stored.features.keys() - known.keys())
    if unknown:
        raise ValueError(f"the model knows a feature {unknown[0]!r} that there is not: fit it again")
    owner, start, width, heights = [], [], [], []
    for name, ramps in stored.features.items():
        for place, (low, high) in enumerate(zip(ramps.knots, ramps.knots[1:], strict=False)):
            owner.append(known[name])
            start.append(low)
            width.append(high - low)
            heights.append([head[place] for head in ramps.heights])
    return Model(
        np.array(owner, np.intp),
        np.array(start),
        np.array(width),
        np.array(heights).reshape(-1, NUM_HEADS),
        np.array(stored.bias),
        stored.alarm,
        stored.structural,
    )


def load_model(path: Path) -> Model:
    """The model of a file; raises ValueError for one that does not fit, OSError for none."""
    return build(msgspec.json.decode(path.read_bytes(), type=ModelFile))


def shipped_file() -> ModelFile:
    """The model that foreshock ships with, as it is stored; how it was fitted is told in it."""
    data = files(__package__).joinpath(SHIPPED).read_bytes()
    return msgspec.json.decode(data, type=ModelFile)


@cache
def shipped_model() -> Model:
    """The same, ready to use."""
    return build(shipped_file())

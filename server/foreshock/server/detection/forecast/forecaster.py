"""One run's forecast, block by block: channels, their tracks, features at every tick, and the risk.

The tracks follow every step. The risk is worked out at ticks: at every step of the first 256, then at
ever fewer, and from 2,048 on at every sixteenth; counted in steps that were judged, so that no cut of
the log can move them.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from foreshock.server.detection.block import Block
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.forecast.channels import read_channels
from foreshock.server.detection.forecast.features import compute_features
from foreshock.server.detection.forecast.fusion import Model, risks, shipped_model
from foreshock.server.detection.forecast.tracks import Tracks, TracksState, View
from foreshock.server.detection.sample import FloatArray, StepArray

EVERY_STEP_UNTIL: Final = 256
LONGEST_STRIDE: Final = 16
# The horizons that alerts and pages tell of: steps, and shares of the run
STEP_HORIZONS: Final = (20, 100)
SHARE_HORIZONS: Final = (0.05, 0.1)
HORIZON_NAMES: Final = ("20", "100", "5%", "10%")


class ForecasterState(msgspec.Struct, frozen=True):
    """Everything that a forecaster remembers."""

    tracks: TracksState


@dataclass(frozen=True, slots=True)
class Sight:
    """The forecast at one tick: features [features], logits [heads], and the risk by horizon."""

    features: FloatArray
    logits: FloatArray
    risk: dict[str, float]


@dataclass(frozen=True, slots=True)
class Outlook:
    """The forecast over a block: its ticks' rows [K] in the block, features, logits and risks there.

    risks [K, 4]: of a spike or divergence within 20 and 100 steps, 5 and 10 % of the run.
    """

    rows: StepArray
    features: FloatArray
    logits: FloatArray
    risks: FloatArray
    view: View
    model: Model

    def at(self, row: int) -> Sight | None:
        """The forecast at a row of the block, None where no tick is."""
        place = int(np.searchsorted(self.rows, row))
        if place == len(self.rows) or self.rows[place] != row:
            return None
        risk = {
            name: round(float(value), 4) for name, value in zip(HORIZON_NAMES, self.risks[place], strict=True)
        }
        return Sight(self.features[place], self.logits[place], risk)


class Forecaster:
    """Follows one attempt of one run."""

    def __init__(self, context: RunContext, model: Model | None = None) -> None:
        self.model = shipped_model() if model is None else model
        self._tracks = Tracks(context)
        window = self._tracks.window
        shares = [context.share_of_run(share, int(share * 10 * window)) for share in SHARE_HORIZONS]
        self._horizons = np.array([*STEP_HORIZONS, *shares]) / window

    @property
    def num_steps(self) -> int:
        """How many steps it has followed."""
        return self._tracks.num_steps

    def advance(self, block: Block) -> Outlook:
        """The forecast over a block that follows on the last; it has at least one step."""
        first = self._tracks.num_steps
        view = self._tracks.advance(read_channels(block))
        rows = ticks(first, len(block))
        features = compute_features(view.part(rows))
        logits = self.model.logits(features)
        return Outlook(rows, features, logits, risks(logits, self._horizons), view, self.model)

    def state(self) -> ForecasterState:
        """What `restore` goes on from, as if nothing had happened."""
        return ForecasterState(self._tracks.state())

    def restore(self, state: ForecasterState) -> None:
        """Takes over a stored state."""
        self._tracks.restore(state.tracks)


def ticks(first: int, length: int) -> StepArray:
    """Which of `length` steps are ticks, the first of them being step number `first` that is judged."""
    numbers = first + np.arange(length)
    # 1 up to 256 steps, 2 up to 512, and so on: by powers of two
    powers = np.frexp(np.maximum(numbers, 1) / EVERY_STEP_UNTIL)[1]
    strides = np.minimum(2 ** np.maximum(powers, 0), LONGEST_STRIDE)
    return np.flatnonzero(numbers % strides == 0)

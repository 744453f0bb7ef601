"""The seam of the benchmark: a watcher is shown a run's steps in order and says what it thinks of each.

Shape suffixes: S steps, H horizons.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from foreshock.server.detection.block import Block
from foreshock.server.detection.context import RunContext
from foreshock.wire.messages import AlertState, Claim, Severity

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

HORIZONS: Final = ("20", "100", "5%", "10%")


def horizon_steps(horizon: str, total_steps: int) -> int:
    """How many steps a horizon is in a run of `total_steps`."""
    if horizon.endswith("%"):
        return max(1, round(float(horizon[:-1]) / 100 * total_steps))
    return int(horizon)


@dataclass(frozen=True, slots=True)
class ScheduleChange:
    """A logged change of a schedule, at the step from which it holds."""

    step: int
    what: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a watcher may know of one attempt before its steps come.

    `context` is what the run declared, without what the benchmark planted in it. `family` chooses a model
    that has not seen the family, and is for nothing else.
    """

    run_id: str
    family: str
    context: RunContext
    changes: tuple[ScheduleChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Alarm:
    """One transition of one alert."""

    step: int
    rule: str
    subject: str
    claim: Claim
    severity: Severity
    state: AlertState
    signal: str | None = None
    layer: int | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """What a watcher said of an attempt's steps.

    `score_S` is real-valued, the higher the more alarming, for thresholds; NaN where it says nothing.
    `risk_SH` is the probability that an event begins within each of HORIZONS, NaN where there is none.
    `structural_S` is the score of the other claim, that the run is at risk though its loss is healthy.
    `alarms` are in the order of the steps; None of a watcher that has no alerts but a threshold.
    """

    score_S: FloatArray
    risk_SH: FloatArray | None = None
    structural_S: FloatArray | None = None
    alarms: tuple[Alarm, ...] | None = None


class Known(Protocol):
    """What is told of a watcher beside its scores.

    `threshold` is the published one: an alarm is on where the score is above it. None where alerts are
    published instead of a threshold, or nothing is.
    """

    @property
    def name(self) -> str:
        """What it is called in the report and the JSON."""

    @property
    def source(self) -> str:
        """Where it comes from, in a few words."""

    @property
    def threshold(self) -> float | None:
        """The published threshold."""


class Watcher(Known, Protocol):
    """A detector under test. It is pickled into worker processes."""

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        """Judges an attempt's steps, each from itself and those before it alone."""

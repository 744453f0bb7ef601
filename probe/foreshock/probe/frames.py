"""What the training thread hands over: frames, in a queue that never grows beyond its bound."""

from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foreshock.probe.plan import Plan
from foreshock.wire import Cadence


class PendingRow(Protocol):
    """Values on their way from the device to the host."""

    def wait(self) -> NDArray[np.float32]:
        """The values; blocks the calling thread, never the training thread, until they are there."""


@dataclass(frozen=True, slots=True)
class StepFrame:
    """One closed step: the device row, and the few numbers that were on the host anyway."""

    step: int
    time: float
    row: PendingRow
    learning_rate: float
    skipped: float
    seconds: float
    own_seconds: float
    loss: float | None
    grad_norm: float | None
    clip_threshold: float | None
    stream_dtype_max: float
    is_whole: bool


@dataclass(frozen=True, slots=True)
class SheetFrame:
    """One step of a sheet that is sent less often."""

    cadence: Cadence
    step: int
    time: float
    row: PendingRow
    is_whole: bool


@dataclass(frozen=True, slots=True)
class LogFrame:
    """The user's own series of one step: numbers, or tensors of one element where the user gave them."""

    step: int
    time: float
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Happening:
    """Something at a step that is no number: becomes an event of the log."""

    step: int
    time: float
    kind: str
    detail: dict[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Facts:
    """What only training has shown of the run's configuration, the streams of a model for one."""

    config: dict[str, int | float]


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """The step went back: what follows belongs to the next attempt."""

    step: int
    time: float


@dataclass(frozen=True, slots=True)
class NewPlan:
    """More is seen than at attach: the streams have other columns from here on."""

    plan: Plan


Frame: TypeAlias = StepFrame | SheetFrame | LogFrame | Happening | Facts | NewAttempt | NewPlan


class FrameQueue:
    """A bounded queue from one training thread to one writer; a full one counts and drops."""

    def __init__(self, max_frames: int) -> None:
        self._frames: deque[Frame] = deque()
        self._max_frames = max_frames
        self.num_dropped = 0

    def put(self, frame: Frame) -> None:
        """Adds a frame, or drops and counts it when the writer is hopelessly behind."""
        if len(self._frames) >= self._max_frames:
            self.num_dropped += 1
            return
        self._frames.append(frame)

    def drain(self) -> list[Frame]:
        """Takes everything that is there."""
        frames: list[Frame] = []
        while self._frames:
            frames.append(self._frames.popleft())
        return frames

    def __len__(self) -> int:
        return len(self._frames)

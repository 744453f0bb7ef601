"""From a device row to the full step vector: what the host can work out, off the training thread."""

import math
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foreshock.probe.canary import Canary, CanaryReading
from foreshock.probe.frames import StepFrame
from foreshock.probe.plan import CANARY_SERIES, DERIVED, DERIVED_OF_GAINS, STREAM_MAX, Plan
from foreshock.wire import MISSING, is_missing

_CLIPPED_WINDOW: Final = 100


class StepVector:
    """Completes step frames to the layout of the stream `step`."""

    def __init__(self, plan: Plan) -> None:
        columns = plan.sheets["step"]
        self._loss, self._grad_norm = columns.index("loss"), columns.index("grad_norm")
        self._stream_max = plan.places(STREAM_MAX)
        self._gains_2L = np.array([plan.places(series) for series in CANARY_SERIES])
        self.restart()

    def restart(self) -> None:
        """Forgets what the canary has seen: a new attempt has begun."""
        self._canary = Canary(self._gains_2L.shape[1])
        self._was_clipped: deque[bool] = deque(maxlen=_CLIPPED_WINDOW)

    def complete(self, frame: StepFrame) -> NDArray[np.float32]:
        """The vector of a frame, float32 [columns of the stream `step`]."""
        row = frame.row.wait()
        if frame.loss is not None:
            row[self._loss] = _narrow(frame.loss)
        if frame.grad_norm is not None:
            row[self._grad_norm] = _narrow(frame.grad_norm)
        host = (frame.learning_rate, frame.skipped, frame.seconds, frame.own_seconds)
        parts = [row, np.array(host, np.float32), self._clipping(row[self._grad_norm], frame.clip_threshold)]
        if self._stream_max:
            parts.append(self._headroom(row[self._stream_max], frame))
        if self._gains_2L.size:
            parts.append(self._of_gains(row[self._gains_2L], frame))
        return np.concatenate(parts)

    def _clipping(self, grad_norm: np.float32, threshold: float | None) -> NDArray[np.float32]:
        """The norm after clipping, and clip coefficient min(1, threshold / norm); 1 without clipping."""
        if is_missing(np.array([grad_norm]))[0]:
            return np.repeat(MISSING, len(DERIVED))
        norm = float(grad_norm)
        if threshold is None or norm <= threshold:
            coefficient = 1.0
        else:
            # As torch computes it, so that an infinite norm gives 0 and a NaN stays NaN
            coefficient = threshold / (norm + 1e-6)
        with np.errstate(invalid="ignore"):
            return np.array(
                [np.float64(norm) * coefficient, coefficient, self._clipped_share(coefficient)], np.float32
            )

    def _clipped_share(self, coefficient: float) -> float:
        """The share of the last steps that were clipped, this one with them."""
        self._was_clipped.append(not coefficient >= 1.0)
        return sum(self._was_clipped) / len(self._was_clipped)

    @staticmethod
    def _headroom(stream_max_L: NDArray[np.float32], frame: StepFrame) -> NDArray[np.float32]:
        if is_missing(stream_max_L).all():
            return np.repeat(MISSING, 1)
        return np.array([_headroom_bits(stream_max_L, frame.stream_dtype_max)], np.float32)

    def _of_gains(self, gains_2L: NDArray[np.float32], frame: StepFrame) -> NDArray[np.float32]:
        if is_missing(gains_2L).any():
            return np.repeat(MISSING, len(DERIVED_OF_GAINS))
        return _as_row(self._canary.update(frame.step, gains_2L.max(0).astype(np.float64)))


def _headroom_bits(stream_max_L: NDArray[np.float32], dtype_max: float) -> float:
    """log2(dtype max / largest magnitude); -inf once the stream itself is not finite."""
    present = stream_max_L[~is_missing(stream_max_L)]
    largest = float(present.max())
    if not math.isfinite(largest):
        return -math.inf
    return math.log2(dtype_max / max(largest, 1e-30))


def _as_row(reading: CanaryReading) -> NDArray[np.float32]:
    row = np.repeat(MISSING, len(DERIVED_OF_GAINS))
    row[0], row[3] = reading.gain, reading.spread
    if reading.rank is not None:
        row[1] = reading.rank
    if reading.lead_steps is not None:
        row[2] = reading.lead_steps
    return row


def _narrow(value: float) -> np.float32:
    with np.errstate(over="ignore"):
        return np.float32(value)

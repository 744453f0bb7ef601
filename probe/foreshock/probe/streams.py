"""Frames of one layout, gathered and cut into batch records."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from foreshock.wire import Batch, Layout, Record, make_batch
from foreshock.wire.records import MAX_STEPS_PER_BATCH

_MAX_BATCH_BYTES: Final = 4 * 2**20


class Numbering:
    """Hands out sequence numbers and layout numbers of one attempt."""

    def __init__(self) -> None:
        self._next_sequence = 0
        self._next_layout = 0

    def sequence(self) -> int:
        """The next record's number."""
        self._next_sequence += 1
        return self._next_sequence - 1

    def layout(self) -> int:
        """The next layout's number."""
        self._next_layout += 1
        return self._next_layout - 1


class Stream:
    """One stream: its layout, declared before its first batch, and the frames not yet written."""

    def __init__(self, name: str, columns: tuple[str, ...], numbering: Numbering) -> None:
        self._name, self._columns, self._numbering = name, columns, numbering
        self._layout_id: int | None = None
        self._steps: list[int] = []
        self._times: list[float] = []
        self._vectors: list[NDArray[np.float32]] = []

    def add(self, step: int, time: float, vector: NDArray[np.float32]) -> None:
        """Takes a frame; a step seen twice keeps the later values."""
        if self._steps and self._steps[-1] == step:
            self._vectors[-1] = vector
            return
        self._steps.append(step)
        self._times.append(time)
        self._vectors.append(vector)

    def take_records(self) -> list[Record]:
        """What has gathered, as records; the stream is empty afterwards."""
        if not self._steps:
            return []
        records: list[Record] = []
        if self._layout_id is None:
            self._layout_id = self._numbering.layout()
            records.append(Layout(self._numbering.sequence(), self._layout_id, self._name, self._columns))
        per_batch = min(MAX_STEPS_PER_BATCH, max(1, _MAX_BATCH_BYTES // (4 * len(self._columns))))
        for start in range(0, len(self._steps), per_batch):
            records.append(self._batch(slice(start, start + per_batch), self._layout_id))
        self._steps, self._times, self._vectors = [], [], []
        return records

    def _batch(self, part: slice, layout_id: int) -> Batch:
        return make_batch(
            self._numbering.sequence(),
            layout_id,
            np.array(self._steps[part], np.int64),
            np.array(self._times[part], np.float64),
            np.stack(self._vectors[part]),
        )

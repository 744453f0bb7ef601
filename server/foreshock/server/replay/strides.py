"""How far apart a trace's steps are: what lies in a gap was not judged, so gaps are told."""

from collections import Counter

import numpy as np

from foreshock.server.detection.block import Block


class Strides:
    """Counts the distances between steps that follow one another in an attempt."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._widest = (0, 0, 0)
        self._last: tuple[int, int] | None = None

    @property
    def notes(self) -> list[str]:
        """One line where steps are further apart than they usually are."""
        if not self._counts:
            return []
        usual = self._counts.most_common(1)[0][0]
        num_gaps = sum(count for stride, count in self._counts.items() if stride > usual)
        if not num_gaps:
            return []
        _, before, after = self._widest
        return [
            f"gaps in the steps, {usual} apart elsewhere: {num_gaps}, the widest from {before} to {after}"
        ]

    def note(self, attempt: int, block: Block) -> None:
        """Takes the steps of one more block."""
        steps = block.steps
        if self._last is not None and self._last[0] == attempt:
            steps = np.concatenate([[self._last[1]], steps])
        self._last = (attempt, int(block.steps[-1]))
        if len(steps) < 2:
            return
        strides, counts = np.unique(np.diff(steps), return_counts=True)
        self._counts.update(dict(zip(strides.tolist(), counts.tolist(), strict=True)))
        place = int(np.argmax(np.diff(steps)))
        self._widest = max(self._widest, (int(strides[-1]), int(steps[place]), int(steps[place + 1])))

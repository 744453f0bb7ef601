"""The rows that observers write on the device, and their way to the host without a sync.

A row is one fixed tensor: its address never changes, so nothing recompiles, and a replayed hook
writes the same place again. `send` moves its content away and marks all of it missing.
"""

from collections import deque
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foreshock.probe.frames import PendingRow
from foreshock.wire import MISSING

_NUM_PINNED: Final = 64


class HostRow:
    """A row that is on the host already."""

    __slots__ = ("_values",)

    def __init__(self, values: NDArray[np.float32]) -> None:
        self._values = values

    def wait(self) -> NDArray[np.float32]:
        """The values."""
        return self._values


class PinnedRow:
    """A row that travels into pinned memory; its slot goes back to the pool once it is read."""

    __slots__ = ("_event", "_pool", "_slot")

    def __init__(self, slot: Tensor, event: torch.cuda.Event, pool: deque[Tensor]) -> None:
        self._slot, self._event, self._pool = slot, event, pool

    def wait(self) -> NDArray[np.float32]:
        """The values, after the copy has ended; waits in the writer's thread with the GIL released."""
        self._event.synchronize()
        values: NDArray[np.float32] = self._slot.numpy().copy()
        self._pool.append(self._slot)
        return values


class Row:
    """A float32 row of `num_columns` on the training device."""

    def __init__(self, num_columns: int, device: torch.device) -> None:
        missing = torch.from_numpy(np.repeat(MISSING, num_columns))
        self.values = missing.to(device, copy=True)
        self._missing = missing.to(device, copy=True)
        self._pool: deque[Tensor] | None = None
        if device.type == "cuda":
            slots = torch.empty(_NUM_PINNED, num_columns, pin_memory=True)
            self._pool = deque(slots.unbind())

    def send(self) -> PendingRow | None:
        """Starts the copy to the host and clears the row; None when no pinned slot is free."""
        pending = self._start_copy()
        self.values.copy_(self._missing)
        return pending

    def _start_copy(self) -> PendingRow | None:
        if self.values.device.type == "cpu":
            return HostRow(self.values.numpy().copy())
        if self._pool is None:
            return HostRow(self.values.cpu().numpy())
        if not self._pool:
            return None
        slot = self._pool.popleft()
        slot.copy_(self.values, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return PinnedRow(slot, event, self._pool)

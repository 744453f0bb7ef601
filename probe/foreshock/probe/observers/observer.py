"""What an observer is: the hooks on one part of training, and the places they write to."""

from collections.abc import Mapping
from typing import Protocol, TypeAlias

from torch import Tensor

from foreshock.probe.clock import Clock
from foreshock.wire import Cadence

Columns: TypeAlias = Mapping[Cadence, tuple[str, ...]]
Places: TypeAlias = Mapping[Cadence, Tensor]


class Observer(Protocol):
    """Watches one part of training.

    `columns` names what it writes, sheet by sheet. `start` hands it one float32 tensor a sheet, a place for
    each of its columns in their order, on the training device: it writes there and nowhere else, reads
    nothing back, and leaves what it does not know. A sheet that `clock` does not call due in the step under
    way goes nowhere, so what is costly asks first.
    """

    @property
    def columns(self) -> Columns:
        """Catalogue names, or names of your own, by the cadence at which they are sent."""

    def start(self, places: Places, clock: Clock) -> None:
        """Puts the hooks in."""

    def end_step(self) -> None:
        """Writes what can be worked out only now; called under `no_grad` before the sheets are sent."""

    def close(self) -> None:
        """Takes the hooks out."""

"""The fast layer of one run: every step of every catalogue series against its own baseline.

Whatever is measured more often than rules and the forecast look at it is looked at here, at the cost of
a few operations on arrays for each group of steps. Nothing here opens an alert: departures say what
moved first, to alerts that others open and to whoever asks which layer moves.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from foreshock.server.detection.block import Block
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.fast.baselines import (
    GROUP_STEPS,
    MASS,
    Baselines,
    Deviations,
    blank,
)
from foreshock.server.detection.fast.departure import Departure, departures
from foreshock.server.detection.fast.excursions import EXCURSION, Excursions, confirm, follow
from foreshock.server.detection.fast.followed import (
    Followed,
    Span,
    followed,
    pack_names,
    unpack_names,
    widened,
)
from foreshock.server.detection.fast.tail import Tail
from foreshock.server.detection.forecast.tracks import window_steps
from foreshock.server.detection.planes import squeeze, unsqueeze
from foreshock.server.detection.sample import Int16Array, StepArray

# How a column's numbers are stored: those of its baseline, and its last two deviations
_NUMBERS: Final = ("<f4", "<f4", "u1", "u1", "<i2", "<i2", "<i2", "<i2")
_EXCURSIONS: Final = ("<u4", *(EXCURSION[name].str for name in EXCURSION.names or ()))


class FastState(msgspec.Struct, frozen=True):
    """Everything that the layer remembers of columns that have had a value.

    columns: their names, layers in a row as one. numbers: of all of them, squeezed. excursions: of those
    that are on one, behind their places.
    """

    num_steps: int = 0
    tail: Tail = Tail()
    columns: list[Span] = []
    numbers: bytes = b""
    excursions: bytes = b""

    @property
    def num_columns(self) -> int:
        """How many columns are followed."""
        return sum(count for _, _, count in self.columns)


@dataclass(frozen=True, slots=True)
class Motion:
    """How a block's series stand to their baselines; of any of its steps the departures."""

    followed: Followed
    steps: StepArray
    found: Deviations
    held: Int16Array
    thresholds: Int16Array
    before: Excursions

    def excursions(self, end: int) -> Excursions:
        """Those after the first `end` steps."""
        upto = slice(0, end)
        return follow(
            self.before, self.found.upto(end), self.held[upto], self.steps[upto], self.thresholds[upto]
        )

    def departures(self, row: int) -> tuple[Departure, ...]:
        """What is away from its baseline at a row of the block, first movers first."""
        return departures(self.followed.names, self.excursions(row + 1))


class FastLayer:
    """Follows one attempt of one run."""

    def __init__(self, context: RunContext) -> None:
        self._followed = followed(())
        self._baselines = Baselines(window_steps(context))
        self._tail = Tail()
        self._last: Int16Array = np.zeros((2, 0), np.int16)
        self._excursions: Excursions = np.zeros(0, EXCURSION)
        self._num_steps = 0

    def advance(self, block: Block) -> Motion:
        """Follows a block that comes after the last; it has at least one step."""
        self._widen(widened(self._followed.names, block.columns.names))
        found = self._baselines.advance(*self._followed.read(block), self._num_steps, self._followed.num_logs)
        confirmed = confirm(found, self._last)
        self._last = confirmed.newest
        thresholds = self._thresholds(found.groups, confirmed.deviations)
        motion = Motion(
            self._followed, block.steps, found, confirmed.deviations, thresholds, self._excursions
        )
        self._excursions = motion.excursions(len(block))
        return motion

    def rebase(self) -> None:
        """Begins all baselines anew, after a change that was logged; nothing is away from what is not."""
        self._baselines.forget()
        self._last = np.zeros_like(self._last)
        self._excursions = np.zeros_like(self._excursions)

    def _thresholds(self, groups: StepArray, held: Int16Array) -> Int16Array:
        """The threshold in force at each step; the tail takes the groups in."""
        peaks = held.max(axis=1, initial=0)
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        in_force = []
        for peak in np.maximum.reduceat(peaks, starts).tolist():
            threshold = self._tail.threshold()
            in_force.append(threshold)
            if len(in_force) < len(starts) or (self._num_steps + len(groups)) % GROUP_STEPS == 0:
                self._tail = self._tail.closed(peak, threshold)
            else:
                self._tail = self._tail.seen(peak)
        self._num_steps += len(groups)
        return np.array(in_force, np.int16)[groups]

    def _widen(self, wider: Followed) -> None:
        """Makes room for columns that come for the first time."""
        if wider.names == self._followed.names:
            return
        place = {name: place for place, name in enumerate(wider.names)}
        places = [place[name] for name in self._followed.names]
        numbers, last, excursions = self._baselines.numbers, self._last, self._excursions
        self._baselines.numbers = blank(len(wider))
        self._baselines.numbers[:, places] = numbers
        self._last = np.zeros((2, len(wider)), np.int16)
        self._last[:, places] = last
        self._excursions = np.zeros(len(wider), EXCURSION)
        self._excursions[places] = excursions
        self._followed = wider

    def state(self) -> FastState:
        """What `restore` goes on from, as if nothing had happened."""
        begun = np.flatnonzero(self._baselines.numbers[MASS])
        rows = zip((*self._baselines.numbers, *self._last), _NUMBERS, strict=True)
        excursions = self._excursions[begun]
        away = np.flatnonzero(excursions["side"])
        fields = (excursions[name][away] for name in EXCURSION.names or ())
        return FastState(
            self._num_steps,
            self._tail,
            pack_names([self._followed.names[place] for place in begun.tolist()]),
            squeeze([row[begun].astype(kind) for row, kind in rows]),
            squeeze([away.astype("<u4"), *fields]),
        )

    def restore(self, state: FastState) -> None:
        """Takes over a stored state; baselines begin anew where the catalogue reads signals otherwise now."""
        self._tail, self._num_steps = state.tail, state.num_steps
        names = unpack_names(state.columns)
        if not names or followed(names).names != names:
            return
        self._followed = followed(names)
        rows = unsqueeze(state.numbers, _NUMBERS)
        self._baselines.numbers = np.array(rows[:-2], np.float32)
        self._last = np.array(rows[-2:], np.int16)
        self._excursions = _stored_excursions(state)


def stored_departures(state: FastState) -> tuple[Departure, ...]:
    """What was away from its baseline when a state was stored, first movers first."""
    return departures(unpack_names(state.columns), _stored_excursions(state))


def _stored_excursions(state: FastState) -> Excursions:
    excursions = np.zeros(state.num_columns, EXCURSION)
    if state.columns:
        places, *fields = unsqueeze(state.excursions, _EXCURSIONS)
        for name, field in zip(EXCURSION.names or (), fields, strict=True):
            excursions[name][places] = field
    return excursions

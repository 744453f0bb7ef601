"""A signal that the run has been sending comes no more, while others go on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final

import msgspec
import numpy as np

from foreshock.server.detection.context import Columns
from foreshock.server.detection.rule import SILENT, Condition, Grounds, Moment, Verdict
from foreshock.server.detection.sample import BoolArray
from foreshock.server.detection.stretch import Stretch
from foreshock.wire.messages import Claim

ADVICE: Final = (
    "Look whether the probe still observes what this is taken from: a module that was replaced, frozen or "
    "recompiled, an observer that failed (the probe's faults say so), a log call that is no longer reached. "
    "While it is missing, rules that read it are blind."
)
NAMED: Final = 4


class NoDataState(msgspec.Struct, frozen=True):
    """Samples are counted, not steps: a run that is sampled more rarely misses nothing.

    here: the series of the look that is under way. seen: by series, at how many looks it was there, the
    last of them, and the most looks it ever took to come again. samples: how many were taken in; 0 in what
    was stored before that was noted, at the end of a block.
    """

    here: frozenset[str] = frozenset()
    seen: dict[str, tuple[int, int, int]] = {}
    samples: int = 0


@dataclass(frozen=True, slots=True)
class NoData:
    """Fires when a series that had come regularly has stayed away for long, by its own measure.

    It looks every `look_samples` samples. A run of which nothing comes at all is the heartbeat's.

    look_samples: samples between two looks.
    grace_looks: how many looks a series may stay away in any case.
    patience: and how often the longest time that it ever took to come again.
    least_looks: looks at which it must have been there before it is missed.
    """

    name: ClassVar[str] = "no_data"
    claim: ClassVar[Claim] = "rule"
    look_samples: int = 16
    grace_looks: int = 8
    patience: int = 3
    least_looks: int = 3

    @property
    def state_type(self) -> type[NoDataState]:
        """The state's class."""
        return NoDataState

    def update(self, moment: Moment, state: NoDataState) -> tuple[NoDataState, Sequence[Verdict]]:
        """At a look, what is not there; at the end of a block, what was there since the last look."""
        samples = moment.num_judged
        is_look = samples % self.look_samples == 0
        if not is_look and moment.row + 1 < len(moment.block):
            return state, SILENT
        state = self._caught_up(moment, state)
        if not is_look:
            return state, SILENT
        look = samples // self.look_samples
        missing = [name for name, seen in state.seen.items() if self._is_missing(seen, look)]
        return state, (self._verdict(missing, state, look),)

    def loud(self, stretch: Stretch, state: NoDataState, is_open: bool, start: int) -> BoolArray:
        """At the first look at which a series may be missing, or at the end of a block.

        What was there at looks in between is noted then.
        """
        taken = stretch.first_number + start
        look = taken // self.look_samples + 1
        if not is_open and state.seen:
            look = max(
                look, 1 + min(last + self._patience(longest) for _, last, longest in state.seen.values())
            )
        elif not is_open:
            look += self.grace_looks
        loud = np.zeros(min(look * self.look_samples - taken, len(stretch) - start), np.bool_)
        loud[-1] = True
        return loud

    def _caught_up(self, moment: Moment, state: NoDataState) -> NoDataState:
        """With what was there since it was last asked, look by look."""
        here, seen = state.here, dict(state.seen)
        samples = moment.num_judged
        taken = max(state.samples, moment.first_number)
        while taken < samples:
            end = min(samples, (taken // self.look_samples + 1) * self.look_samples)
            rows = slice(taken - moment.first_number, end - moment.first_number)
            here |= _series_of(moment.block.columns, moment.block.present[rows].any(axis=0).tobytes())
            if end % self.look_samples == 0:
                _note(seen, here, end // self.look_samples)
                here = frozenset()
            taken = end
        return NoDataState(here, seen, samples)

    def _patience(self, longest: int) -> int:
        """How many looks a series may stay away that once took `longest` to come again."""
        return max(self.grace_looks, self.patience * longest)

    def _is_missing(self, seen: tuple[int, int, int], look: int) -> bool:
        count, last, longest = seen
        return count >= self.least_looks and look - last > self._patience(longest)

    def _verdict(self, missing: Sequence[str], state: NoDataState, look: int) -> Verdict:
        def say() -> str:
            if not missing:
                return "All signals that had come come again."
            away = (look - min(state.seen[name][1] for name in missing)) * self.look_samples
            more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            names = f"{', '.join(missing[:NAMED])}{more}"
            return f"{names} came regularly and comes no more, for up to {away} samples, while others go on."

        return Verdict(
            Condition.HOLDS if missing else Condition.CLEAR,
            "warning",
            float(len(missing)),
            say,
            ADVICE,
            subject="signals",
            grounds=Grounds(signal=missing[0] if missing else None),
        )


def _note(seen: dict[str, tuple[int, int, int]], here: frozenset[str], look: int) -> None:
    """Takes what was there at a look into what was seen."""
    # Those that are known have their place
    for name in here if here <= seen.keys() else sorted(here):
        count, last, longest = seen.get(name, (0, look, 0))
        away = look - last
        seen[name] = (count + 1, look, away if away > longest else longest)


@lru_cache(maxsize=512)
def _series_of(columns: Columns, present: bytes) -> frozenset[str]:
    """The series of which any column is present; of few columns there are few such sets."""
    places = np.flatnonzero(np.frombuffer(present, np.bool_))
    return frozenset(columns.series[place] for place in places.tolist())

"""Two groups of runs held against each other: which of their runs count, and what their numbers allow."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import Final

import numpy as np

from foreshock.server.detection.run_facts import WHOLE_SHARE, RunFacts
from foreshock.server.detection.variance import FloatArray, VarianceTest, compare_variance

QUANTITIES: Final = {"log_peak_gain": "peak", "final_loss": "log_final_loss"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a project's runs are compared, for the commands that are advised."""

    project: str
    group_by: str

    def train(self, key: str, rest: str) -> str:
        """How a reference model of a group is trained; the command of another model is its user's."""
        option = f" --connection {quote(key)}" if self.group_by.rpartition(".")[2] == "connection" else ""
        project = f" --project {quote(self.project)}" if self.project else ""
        return f"foreshock train{option} ... {rest}{project}"


NOWHERE: Final = Place("", "")


@dataclass(slots=True)
class Pair:
    """A constrained group and its baseline; `tests` are those that their numbers allow."""

    constrained: str
    baseline: str
    ours: Sequence[RunFacts]
    theirs: Sequence[RunFacts]
    place: Place = NOWHERE
    compared: tuple[list[RunFacts], list[RunFacts]] = field(init=False)
    tests: dict[str, VarianceTest] = field(init=False)

    def __post_init__(self) -> None:
        length = common_length((*self.ours, *self.theirs))
        ours, theirs = (
            [run for run in independent(group) if is_of_length(run, length)]
            for group in (self.ours, self.theirs)
        )
        self.compared = ours, theirs
        found = {name: compare_variance(name, *self.values(name)) for name in QUANTITIES}
        self.tests = {name: test for name, test in found.items() if test is not None}

    def values(self, quantity: str) -> tuple[FloatArray, FloatArray]:
        """Logarithms of one quantity in both groups, of the runs that have one."""
        ours, theirs = ([getattr(run, QUANTITIES[quantity]) for run in group] for group in self.compared)
        return _known(ours), _known(theirs)

    def more_seeds(self, key: str, count: int) -> str:
        """Which runs to start, in words and as a command."""
        members = self.ours if key == self.constrained else self.theirs
        taken = {run.seed for run in members}
        free = [seed for seed in range(len(taken) + count + 1) if seed not in taken][:count]
        like = next((run.name for run in members if run.is_whole), members[0].name)
        likewise = f", then {', '.join(map(str, free[1:]))}" if len(free) > 1 else ""
        return (
            f"run {count} more {'seed' if count == 1 else 'seeds'} of {key}, with the command of {like} and "
            f"another seed ({self.place.train(key, f'--seed {free[0]}')}{likewise})"
        )


def independent(members: Sequence[RunFacts]) -> list[RunFacts]:
    """One run a seed, the newest whole one where there are several; runs without a seed all count.

    Two runs of one seed tell of rounding, not of the spread across seeds.
    """
    chosen: dict[int, RunFacts] = {}
    for run in members:
        if run.seed is not None and (run.seed not in chosen or run.is_whole or not chosen[run.seed].is_whole):
            chosen[run.seed] = run
    return [run for run in members if run.seed is None or chosen[run.seed] is run]


def common_length(members: Iterable[RunFacts]) -> int | None:
    """The number of steps that most runs were to take, the longer of two as frequent; None of none."""
    counts = Counter(run.total_steps for run in members if run.total_steps is not None)
    return max(counts, key=lambda steps: (counts[steps], steps), default=None)


def is_of_length(run: RunFacts, length: int | None) -> bool:
    """Whether a run was to take about so many steps; peaks and losses of other lengths do not compare."""
    if length is None or run.total_steps is None:
        return True
    return WHOLE_SHARE * length <= run.total_steps <= length / WHOLE_SHARE


def _known(values: Sequence[float | None]) -> FloatArray:
    return np.array([value for value in values if value is not None], np.float64)

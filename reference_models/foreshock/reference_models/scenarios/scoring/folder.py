"""A folder as it was watched: the runs that count with what each watcher said, and those that do not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from foreshock.reference_models.errors import ScoreError
from foreshock.reference_models.scenarios.record import find_records
from foreshock.reference_models.scenarios.scoring.baselines.schedule_only import ScheduleOnly, lived
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.watcher import FloatArray, Watcher
from foreshock.reference_models.scenarios.scoring.watching import RunWatch, WatchedRun, watch_all

OnRun = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class WatchedFolder:
    """Runs that are scored, and why the others are not."""

    directory: Path
    watched: tuple[WatchedRun, ...]
    schedule_only: ScheduleOnly
    unscored: dict[str, str]
    damaged: dict[str, str]

    @property
    def runs(self) -> list[ScoredRun]:
        """The runs that count, in the order of their folders."""
        return [one.run for one in self.watched if one.run is not None]

    def of(self, watcher: str) -> list[RunWatch]:
        """What a watcher said, run by run."""
        return [one.watches[watcher] for one in self.watched]

    def scores(self, watcher: str) -> list[FloatArray]:
        """A watcher's scores, run by run."""
        return [watch.score_R for watch in self.of(watcher)]

    def hour_weights(self) -> list[FloatArray]:
        """What the schedule-only predictor gives each row; alarm time in these weights rewards no clock."""
        return self.scores(self.schedule_only.name)


def watch_directory(
    directory: Path, watchers: Sequence[Watcher], jobs: int, on_run: OnRun = lambda run, done, total: None
) -> WatchedFolder:
    """Shows every run of a folder to the watchers; `on_run` is told of each run with how many are done.

    Raises ScoreError where there is no record, or none that can be scored.
    """
    folders = find_records(directory)
    if not folders:
        raise ScoreError(
            f"{directory} holds no recorded runs; record some with: foreshock scenarios run FILE --out DIR"
        )
    scored: list[WatchedRun] = []
    unscored: dict[str, str] = {}
    damaged: dict[str, str] = {}
    for done, one in enumerate(watch_all(folders, watchers, jobs), start=1):
        on_run(one.run_id, done, len(folders))
        if one.run is None:
            damaged[one.run_id] = one.error or "unknown"
        elif one.run.unscored is not None:
            unscored[one.run_id] = one.run.unscored
        else:
            scored.append(one)
    if not scored:
        first = next(iter((damaged | unscored).items()))
        raise ScoreError(
            f"none of the {len(folders)} runs in {directory} can be scored; the first, {first[0]}: {first[1]}"
        )
    schedule_only = ScheduleOnly.fitted([lived(one.run, one.cell_R) for one in scored if one.run is not None])
    for one in scored:
        one.watches[schedule_only.name] = _by_the_clock(schedule_only, one)
    return WatchedFolder(directory, tuple(scored), schedule_only, unscored, damaged)


def _by_the_clock(schedule_only: ScheduleOnly, one: WatchedRun) -> RunWatch:
    if one.run is None:
        raise ScoreError(f"{one.run_id} could not be read, so nothing can be said of it")
    ahead_RH = schedule_only.ahead(one.run, one.cell_R)
    return RunWatch(ahead_RH[:, -1], ahead_RH[:, :-1], None, None)

"""Shows recorded runs to watchers, a run at a time, in as many processes as are asked for."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np

from foreshock.reference_models.errors import ModelsError, ScoreError
from foreshock.reference_models.scenarios.record import read_record
from foreshock.reference_models.scenarios.scoring.baselines.schedule_only import cells
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun, scored_run
from foreshock.reference_models.scenarios.scoring.showing import attempts
from foreshock.reference_models.scenarios.scoring.watcher import (
    HORIZONS,
    Alarm,
    Attempt,
    BoolArray,
    FloatArray,
    IntArray,
    Watch,
    Watcher,
)
from foreshock.server.detection.block import Block


@dataclass(frozen=True, slots=True)
class RunWatch:
    """What one watcher said of a whole run, attempts behind each other, by rows [R].

    `alarms` holds each with its row, None of a watcher without alerts. `leak_row` is the first row at which
    what was said changes when the rows from the first fault on are taken away: causal watchers have none.
    `num_compared` counts the rows that were held against each other, 0 where there is no fault.
    """

    score_R: FloatArray
    risk_RH: FloatArray | None
    structural_R: FloatArray | None
    alarms: tuple[tuple[int, Alarm], ...] | None
    num_compared: int = 0
    leak_row: int | None = None

    @property
    def speaks(self) -> bool:
        """Whether it had anything to go by."""
        return bool(self.alarms) or bool((~np.isnan(self.score_R)).any())

    def alarm_on(self, threshold: float | None) -> BoolArray:
        """Where its page is on [R]: above the threshold, or with an open critical event alert."""
        if self.alarms is None:
            if threshold is None:
                return np.zeros(len(self.score_R), np.bool_)
            return self.score_R > threshold
        return open_rows(self.alarms, len(self.score_R), ("event",), ("critical",))


@dataclass(frozen=True, slots=True)
class WatchedRun:
    """A run and what each watcher, by name, said of it; `error` of one that could not be read.

    `cell_R` is where each row stands in time and schedule (see schedule_only.py).
    """

    run_id: str
    run: ScoredRun | None
    watches: dict[str, RunWatch] = field(default_factory=dict)
    cell_R: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    error: str | None = None


def open_rows(
    alarms: Sequence[tuple[int, Alarm]], num_rows: int, claims: Sequence[str], severities: Sequence[str]
) -> BoolArray:
    """Where an alert of these claims and severities is firing, [R]."""
    on_R = np.zeros(num_rows, np.bool_)
    since: dict[tuple[str, str], int] = {}
    for row, alarm in alarms:
        key = alarm.rule, alarm.subject
        if key in since:
            on_R[since.pop(key) : row] = True
        if alarm.state == "firing" and alarm.claim in claims and alarm.severity in severities:
            since[key] = row
            on_R[row] = True
    for row in since.values():
        on_R[row:] = True
    return on_R


def watch_all(folders: Sequence[Path], watchers: Sequence[Watcher], jobs: int = 1) -> Iterator[WatchedRun]:
    """Each folder's run with what the watchers say, in the order of the folders."""
    if jobs <= 1:
        for folder in folders:
            yield watch_folder(folder, watchers)
        return
    with ProcessPoolExecutor(jobs, mp_context=_processes()) as pool:
        yield from pool.map(watch_folder, folders, [watchers] * len(folders))


def _processes() -> BaseContext:
    """Children that inherit no thread of the progress bar, and that import once for all where they can."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def watch_folder(folder: Path, watchers: Sequence[Watcher]) -> WatchedRun:
    """One run. A damaged record is told, not raised; runs that do not count are not watched."""
    try:
        record = read_record(folder)
        run = scored_run(record)
        if run.unscored is not None:
            return WatchedRun(run.run_id, run)
        shown = list(attempts(record))
    except ModelsError as error:
        return WatchedRun(folder.name, None, error=str(error))
    except KeyError as error:
        return WatchedRun(folder.name, None, error=f"{folder} is damaged: {error} is missing in its record")
    except (TypeError, OSError, ValueError) as error:
        return WatchedRun(folder.name, None, error=f"{folder} is damaged: {error}")
    cell_R = np.concatenate([cells(attempt, (block,)) for attempt, block in shown])
    return WatchedRun(run.run_id, run, {one.name: watch_run(one, run, shown) for one in watchers}, cell_R)


def watch_run(watcher: Watcher, run: ScoredRun, shown: Sequence[tuple[Attempt, Block]]) -> RunWatch:
    """What a watcher says of a run, and whether it says the same when what follows a fault is taken away."""
    whole = _joined(watcher, shown)
    if not run.fault_rows:
        return whole
    before = _until(shown, run.fault_rows[0])
    leak_row = _first_difference(whole, _joined(watcher, before), run.fault_rows[0]) if before else None
    return RunWatch(
        whole.score_R, whole.risk_RH, whole.structural_R, whole.alarms, run.fault_rows[0], leak_row
    )


def _joined(watcher: Watcher, shown: Sequence[tuple[Attempt, Block]]) -> RunWatch:
    watches = [_said(watcher, attempt, block) for attempt, block in shown]
    starts = np.cumsum([0, *(len(block) for _, block in shown)])
    alarms: list[tuple[int, Alarm]] = []
    for watch, (_, block), start in zip(watches, shown, starts.tolist(), strict=False):
        alarms += _by_row(watch, block.steps, start)
    return RunWatch(
        np.concatenate([watch.score_S for watch in watches]),
        _stacked([watch.risk_SH for watch in watches], shown, (len(HORIZONS),)),
        _stacked([watch.structural_S for watch in watches], shown, ()),
        None if all(watch.alarms is None for watch in watches) else tuple(alarms),
    )


def _said(watcher: Watcher, attempt: Attempt, block: Block) -> Watch:
    """What a watcher says of an attempt; raises ScoreError for tracks that are not those of its steps."""
    watch, steps = watcher.watch(attempt, (block,)), len(block)
    shapes = {"score_S": (steps,), "risk_SH": (steps, len(HORIZONS)), "structural_S": (steps,)}
    for name, shape in shapes.items():
        track = getattr(watch, name)
        if track is not None and (track.shape != shape or track.dtype != np.float64):
            raise ScoreError(
                f"the watcher {watcher.name} gave {attempt.run_id} a {name} of {track.dtype} and shape "
                f"{track.shape}; it must be float64 and {shape}"
            )
    return watch


def _by_row(watch: Watch, steps_S: IntArray, start: int) -> list[tuple[int, Alarm]]:
    rows = np.searchsorted(steps_S, [alarm.step for alarm in watch.alarms or ()])
    last = len(steps_S) - 1
    return [(start + min(int(row), last), alarm) for row, alarm in zip(rows, watch.alarms or (), strict=True)]


def _stacked(
    parts: Sequence[FloatArray | None], shown: Sequence[tuple[Attempt, Block]], shape: tuple[int, ...]
) -> FloatArray | None:
    if all(part is None for part in parts):
        return None
    return np.concatenate(
        [
            np.full((len(block), *shape), np.nan) if part is None else part
            for part, (_, block) in zip(parts, shown, strict=True)
        ]
    )


def _until(shown: Sequence[tuple[Attempt, Block]], end: int) -> list[tuple[Attempt, Block]]:
    """The attempts cut before row `end`."""
    kept = []
    for attempt, block in shown:
        if end > 0:
            kept.append((attempt, block.part(0, end)))
        end -= len(block)
    return kept


def _first_difference(whole: RunWatch, part: RunWatch, end: int) -> int | None:
    """The first row before `end` at which two watches differ in a single bit, None where none does."""
    differs = np.zeros(end, np.bool_)
    for one, two in (
        (whole.score_R, part.score_R),
        (whole.risk_RH, part.risk_RH),
        (whole.structural_R, part.structural_R),
    ):
        if one is not None and two is not None:
            unequal = one[:end].view(np.int64) != two[:end].view(np.int64)
            differs |= unequal.reshape(end, -1).any(axis=1)
        elif (one is None) != (two is None):
            differs[:] = True
    ones = [alarm for alarm in whole.alarms or () if alarm[0] < end]
    twos = list(part.alarms or ())
    if ones != twos:
        odd = {row for row, alarm in ones if (row, alarm) not in twos}
        odd |= {row for row, alarm in twos if (row, alarm) not in ones}
        differs[min(odd, default=0)] = True
    rows = np.flatnonzero(differs)
    return int(rows[0]) if len(rows) else None

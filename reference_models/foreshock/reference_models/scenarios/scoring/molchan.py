"""Molchan's diagram: the share of events missed against the share of time that was under alarm.

An alarm at a step covers the lead window that follows it: an event that began there would be foretold.
Alarm time is the share of eligible rows (up to each run's first event) that are covered, counted in steps,
or weighted by what a schedule-only predictor gives each: by that measure knowing the hour earns nothing.
Random alarms lie on the diagonal, and so does the one that is always on. Exogenous runs stay out.

Shape suffixes: C thresholds, N runs, B replicates.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap, Estimate, interval
from foreshock.reference_models.scenarios.scoring.episodes import in_force
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.sweep import Sweep
from foreshock.reference_models.scenarios.scoring.watcher import BoolArray, FloatArray


@dataclass(frozen=True, slots=True)
class Molchan:
    """One watcher's diagram. `skill` is 1 - 2 x the area under the curve: 0 for random, 1 for perfect."""

    alarm_time: tuple[float, ...]
    miss_rate: tuple[float, ...]
    skill: Estimate

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class MolchanPoint:
    """Where the published alarm lies; `gain` is how many times likelier it covers an event than by chance."""

    alarm_time: float
    miss_rate: float
    gain: float | None


def molchan(runs: Sequence[ScoredRun], swept: Sweep, bootstrap: Bootstrap) -> Molchan | None:
    """The diagram of a sweep; None without events or time."""
    is_positive_N = np.array([run.is_positive for run in runs], np.float64)
    if not is_positive_N.any() or swept.weight_N.sum() <= 0 or not len(swept.thresholds):
        return None
    ones = np.ones((len(runs), 1))
    time_C, miss_C = (each[:, 0] for each in _curve(swept, is_positive_N, ones))
    replicates = _area(*_curve(swept, is_positive_N, bootstrap.draws_NB))
    skill = 1 - 2 * float(_area(time_C[:, None], miss_C[:, None])[0])
    order = np.lexsort((-miss_C, time_C))
    return Molchan(
        tuple(time_C[order].tolist()), tuple(miss_C[order].tolist()), interval(skill, 1 - 2 * replicates)
    )


def molchan_point(runs: Sequence[ScoredRun], on: Sequence[BoolArray]) -> MolchanPoint | None:
    """The point of alarms that are on in some rows [R] of each run."""
    covered = eligible = missed = events = 0
    for run, on_R in zip(runs, on, strict=True):
        if run.is_exogenous:
            continue
        force_R = in_force(on_R, run.earliest_lead, run.least_lead)
        covered += int(force_R[: run.eligible_end].sum())
        eligible += run.eligible_end
        if run.onset is not None:
            events += 1
            missed += not force_R[run.onset]
    if not events or not eligible:
        return None
    time, miss = covered / eligible, missed / events
    return MolchanPoint(time, miss, (1 - miss) / time if time > 0 else None)


def _curve(swept: Sweep, is_positive_N: FloatArray, draws_NB: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Alarm time and miss rate by threshold [C, B], thresholds rising; NaN in a replicate without events."""
    with np.errstate(invalid="ignore", divide="ignore"):
        time_CB = (swept.force_CN @ draws_NB) / (swept.weight_N @ draws_NB)
        miss_CB = 1 - (swept.covered_CN @ draws_NB) / (is_positive_N @ draws_NB)
    return time_CB, miss_CB


def _area(time_CB: FloatArray, miss_CB: FloatArray) -> FloatArray:
    """The area under the curve that begins at no alarm (0, 1) and ends at all of it (1, 0), [B]."""
    one = np.ones((1, time_CB.shape[1]))
    time = np.concatenate([one, time_CB, 0 * one])
    miss = np.concatenate([0 * one, miss_CB, one])
    area: FloatArray = np.sum((time[:-1] - time[1:]) * (miss[:-1] + miss[1:]) / 2, axis=0)
    return area

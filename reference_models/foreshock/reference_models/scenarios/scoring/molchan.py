"""Molchan's diagram: the share of events missed against the share of time that was under alarm.

An alarm at a step covers the lead window that follows it: an event that began there would be foretold.
Alarm time is the share of eligible rows (up to each run's first event) that are covered, counted in steps,
or weighted by what a schedule-only predictor gives each: by that measure knowing the hour earns nothing.
Chance is computed, not assumed to be the diagonal: the first rows of a run have few before them that could
cover them, so alarms at random cover later rows, and most events, a little better. Exogenous runs stay out.

Shape suffixes: C thresholds, N runs, B replicates.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap, Estimate, interval
from foreshock.reference_models.scenarios.scoring.episodes import in_force
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.sweep import Sweep
from foreshock.reference_models.scenarios.scoring.watcher import BoolArray, FloatArray

NUM_RATES: Final = 60


@dataclass(frozen=True, slots=True)
class Molchan:
    """One watcher's diagram, and that of alarms at random rows.

    `skill` is 1 - the area under the curve over that under chance's: 0 for random, 1 for perfect.
    """

    alarm_time: tuple[float, ...]
    miss_rate: tuple[float, ...]
    chance_alarm_time: tuple[float, ...]
    chance_miss_rate: tuple[float, ...]
    skill: Estimate

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class MolchanPoint:
    """Where the published alarm lies; `gain` is how many times likelier it covers an event than a row."""

    alarm_time: float
    miss_rate: float
    gain: float | None


def molchan(
    runs: Sequence[ScoredRun], swept: Sweep, bootstrap: Bootstrap, weights: Sequence[FloatArray] | None = None
) -> Molchan | None:
    """The diagram of a sweep and of chance, `weights` those of the sweep; None without events or time."""
    is_positive_N = np.array([run.is_positive for run in runs], np.float64)
    if not is_positive_N.any() or swept.weight_N.sum() <= 0 or not len(swept.thresholds):
        return None
    random = chance(runs, weights)
    ones = np.ones((len(runs), 1))
    own = _curve(swept.force_CN, swept.covered_CN, swept.weight_N, is_positive_N, ones)
    by_chance = _curve(*random, swept.weight_N, is_positive_N, ones)
    draws_NB = bootstrap.draws_NB
    replicates = _area(*_curve(swept.force_CN, swept.covered_CN, swept.weight_N, is_positive_N, draws_NB))
    chance_replicates = _area(*_curve(*random, swept.weight_N, is_positive_N, draws_NB))
    skill = 1 - float(_area(*own)[0] / _area(*by_chance)[0])
    time, miss, chance_time, chance_miss = (tuple(each[::-1, 0].tolist()) for each in (*own, *by_chance))
    return Molchan(time, miss, chance_time, chance_miss, interval(skill, 1 - replicates / chance_replicates))


def chance(
    runs: Sequence[ScoredRun], weights: Sequence[FloatArray] | None = None
) -> tuple[FloatArray, FloatArray]:
    """What alarms at random rows cover on average: weight of rows and events [C, N], falling in number."""
    rates_C = np.concatenate([np.logspace(0, -6, NUM_RATES - 1), [0.0]])
    force, covered = [], []
    for number, run in enumerate(runs):
        rows = np.arange(run.num_rows)
        reaching_R = np.clip(rows - run.least_lead + 1, 0, run.earliest_lead - run.least_lead + 1)
        covered_RC = 1 - (1 - rates_C) ** reaching_R[:, None]
        weight = np.ones(run.eligible_end) if weights is None else weights[number][: run.eligible_end]
        force.append((weight @ covered_RC[: run.eligible_end]) * (not run.is_exogenous))
        covered.append(covered_RC[run.onset if run.onset is not None else 0] * run.is_positive)
    return np.stack(force, axis=1), np.stack(covered, axis=1)


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


def _curve(
    force_CN: FloatArray,
    covered_CN: FloatArray,
    weight_N: FloatArray,
    is_positive_N: FloatArray,
    draws_NB: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Alarm time and miss rate [C, B], alarm time falling; NaN in a replicate without events."""
    with np.errstate(invalid="ignore", divide="ignore"):
        time_CB = (force_CN @ draws_NB) / (weight_N @ draws_NB)
        miss_CB = 1 - (covered_CN @ draws_NB) / (is_positive_N @ draws_NB)
    return time_CB, miss_CB


def _area(time_CB: FloatArray, miss_CB: FloatArray) -> FloatArray:
    """The area under the curve that begins at no alarm (0, 1) and ends at all of it (1, 0), [B]."""
    one = np.ones((1, time_CB.shape[1]))
    time = np.concatenate([one, time_CB, 0 * one])
    miss = np.concatenate([0 * one, miss_CB, one])
    area: FloatArray = np.sum((time[:-1] - time[1:]) * (miss[:-1] + miss[1:]) / 2, axis=0)
    return area

"""All thresholds of one watcher over all runs: false pages, hits and alarm time as functions of each.

Shape suffixes: C thresholds, N runs, R rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from foreshock.reference_models.scenarios.scoring.episodes import Pages, largest_between
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.watcher import BoolArray, FloatArray, IntArray

# Enough to follow the false alarms one by one to 1 per 1,000 steps of 300,000
MOST_THRESHOLDS: Final = 400


@dataclass(frozen=True, slots=True)
class Sweep:
    """At each threshold [C], rising, and for each run [N]: false pages, the event's lead, alarm time.

    `lead_CN` is 0 where there is no hit. `force_CN` is the weight of the eligible rows in which an alarm
    is in force, `weight_N` that of all of them; `covered_CN` is 1 where one is in force at the onset.
    """

    thresholds: FloatArray
    false_CN: FloatArray
    lead_CN: FloatArray
    force_CN: FloatArray
    covered_CN: FloatArray
    weight_N: FloatArray


def thresholds_of(runs: Sequence[ScoredRun], scores: Sequence[FloatArray], *more: float | None) -> FloatArray:
    """The thresholds that are worth a look, rising: where false pages come and go, where hits do."""
    false, true, every = [], [], []
    for run, score_R in zip(runs, scores, strict=True):
        pages = Pages.of(score_R, run.least_lead)
        false.append(pages.high[pages.rows < run.healthy_end])
        if run.is_positive and run.onset is not None:
            own = (pages.rows >= run.onset - run.earliest_lead) & (pages.rows <= run.onset - run.least_lead)
            true.append(np.concatenate([pages.low[own], pages.high[own]]))
        every.append(score_R[np.isfinite(score_R)])
    found = [_finite(false)[-MOST_THRESHOLDS:], _thinned(_finite(true)), _thinned(_finite(every), 64)]
    given = np.array([one for one in more if one is not None], np.float64)
    known = np.unique(np.concatenate([*found, given]))
    if not len(known):
        return known
    # Below everything all steps are alarms; at the largest number only an infinite score is one
    return np.unique(np.concatenate([[np.nextafter(known[0], -np.inf)], known, [np.finfo(np.float64).max]]))


def sweep(
    runs: Sequence[ScoredRun],
    scores: Sequence[FloatArray],
    thresholds: FloatArray,
    delay: int = 0,
    weights: Sequence[FloatArray] | None = None,
) -> Sweep:
    """Scans the scores [R] of all runs; `weights` [R] measure alarm time, each row counting 1 by default."""
    columns = [
        _of_run(run, score_R, thresholds, delay, None if weights is None else weights[number])
        for number, (run, score_R) in enumerate(zip(runs, scores, strict=True))
    ]
    false, lead, force, covered = (
        np.stack([column[part] for column in columns], axis=1) if columns else np.zeros((len(thresholds), 0))
        for part in range(4)
    )
    return Sweep(
        thresholds, false, lead, force, covered, np.array([column[4] for column in columns], np.float64)
    )


def _of_run(
    run: ScoredRun, score_R: FloatArray, thresholds: FloatArray, delay: int, weight_R: FloatArray | None
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, float]:
    pages = Pages.of(score_R, run.least_lead)
    first = np.searchsorted(thresholds, pages.low, "left")
    last = np.searchsorted(thresholds, pages.high, "left")
    force_C, weight = _alarm_time(run, score_R, thresholds, weight_R)
    false_C = _count(pages.rows < run.healthy_end, first, last, len(thresholds))
    lead_C, covered_C = np.zeros(len(thresholds)), np.zeros(len(thresholds))
    if run.is_positive and run.onset is not None:
        arrivals = pages.rows + delay
        in_time = (arrivals >= run.onset - run.earliest_lead) & (arrivals <= run.onset - run.least_lead)
        # The earliest page counts, so it is written last
        for place in np.flatnonzero(in_time)[::-1]:
            lead_C[first[place] : last[place]] = run.onset - arrivals[place]
        covered_C = (_reach(run, score_R)[run.onset] > thresholds).astype(np.float64)
    return false_C, lead_C, force_C, covered_C, weight


def _count(is_counted: BoolArray, first: IntArray, last: IntArray, num: int) -> FloatArray:
    steps = np.zeros(num + 1)
    np.add.at(steps, first[is_counted], 1.0)
    np.add.at(steps, last[is_counted], -1.0)
    counted: FloatArray = np.cumsum(steps)[:num]
    return counted


def _reach(run: ScoredRun, score_R: FloatArray) -> FloatArray:
    """The largest score whose alarm would cover each row: an event that began there would be foretold."""
    silent_R = np.where(np.isnan(score_R), -np.inf, score_R)
    return largest_between(silent_R, run.earliest_lead, run.least_lead)


def _alarm_time(
    run: ScoredRun, score_R: FloatArray, thresholds: FloatArray, weight_R: FloatArray | None
) -> tuple[FloatArray, float]:
    """The weight of the eligible rows with an alarm in force [C], and of all; exogenous runs have none."""
    if run.is_exogenous:
        return np.zeros(len(thresholds)), 0.0
    reach = _reach(run, score_R)[: run.eligible_end]
    weight = np.ones(len(reach)) if weight_R is None else weight_R[: run.eligible_end]
    order = np.argsort(reach)
    above = np.concatenate([[0.0], np.cumsum(weight[order][::-1])])[::-1]
    force: FloatArray = above[np.searchsorted(reach[order], thresholds, "right")]
    return force, float(weight.sum())


def _finite(parts: Sequence[FloatArray]) -> FloatArray:
    values = np.concatenate(parts) if parts else np.zeros(0)
    return np.sort(values[np.isfinite(values)])


def _thinned(values: FloatArray, most: int = MOST_THRESHOLDS) -> FloatArray:
    """At most so many of sorted values, evenly from both ends."""
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).astype(np.int64)]

"""Faults from outside: nothing may be claimed before them, and the events they make must be seen at once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from scipy.stats import binom

from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap, Estimate
from foreshock.reference_models.scenarios.scoring.episodes import Pages
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.watching import RunWatch

DETECTION_STEPS: Final = 3
# The family of the protocol that plants faults in sound runs. Others plant them in runs that are at risk
# already, where a page before the fault may be right: they count only in a folder that has none of it
SOUND_FAMILY: Final = "F11"


@dataclass(frozen=True, slots=True)
class ExogenousScore:
    """What a watcher makes of planted faults.

    `detected`: of the exogenous events that begin with their fault, the share at which any alert fires (of
    a watcher without alerts: its alarm is on) within 3 steps of the onset.
    `leaks`: of all runs with a fault, by run the first row before the fault at which the watcher says
    something else, in any bit, once the fault and all after it are taken away; `num_leak_tests` were tried.
    `pages_before`: pages before the first fault of exogenous runs, in `steps_before` steps; `pages_after`:
    those from it on where the loss shows no event, which count neither as false nor as true;
    `p_value`: the chance of so many or more at the false-alarm rate of the other runs (binomial, over
    steps); None where there is no such rate.
    """

    detected: Estimate
    num_events: int
    leaks: dict[str, int]
    num_leak_tests: int
    pages_before: int
    steps_before: int
    pages_after: int
    p_value: float | None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def exogenous_score(
    runs: Sequence[ScoredRun],
    watches: Sequence[RunWatch],
    threshold: float | None,
    bootstrap: Bootstrap,
) -> ExogenousScore:
    """The score at the published threshold or alerts."""
    pairs = list(zip(runs, watches, strict=True))
    exogenous = [run for run in runs if run.is_exogenous and run.fault_rows]
    asked = [run for run in exogenous if run.family == SOUND_FAMILY] or exogenous
    asked_ids = {run.run_id for run in asked}
    is_event_N = np.array([run.run_id in asked_ids and run.is_at_fault for run in runs], np.bool_)
    is_seen_N = np.array([_is_seen(run, watch, threshold) for run, watch in pairs], np.bool_)
    planted = [(run, watch) for run, watch in pairs if run.run_id in asked_ids]
    others = [(run, watch) for run, watch in pairs if run.run_id not in asked_ids]
    pages_before = sum(_num_pages(run, watch, threshold, run.fault_rows[0]) for run, watch in planted)
    steps_before = sum(run.fault_rows[0] for run, _ in planted)
    pages = sum(_num_pages(run, watch, threshold, run.healthy_end) for run, watch in others)
    steps = sum(run.healthy_end for run, _ in others)
    return ExogenousScore(
        bootstrap.ratio(is_seen_N & is_event_N, is_event_N, "no exogenous event begins with its fault"),
        int(is_event_N.sum()),
        {run.run_id: watch.leak_row for run, watch in pairs if watch.leak_row is not None},
        sum(watch.num_compared > 0 for watch in watches),
        pages_before,
        steps_before,
        sum(
            _num_pages(run, watch, threshold, run.num_rows)
            - _num_pages(run, watch, threshold, run.fault_rows[0])
            for run, watch in planted
            if run.onset is None
        ),
        float(binom.sf(pages_before - 1, steps_before, pages / steps)) if steps and steps_before else None,
    )


def _is_seen(run: ScoredRun, watch: RunWatch, threshold: float | None) -> bool:
    if run.onset is None:
        return False
    last = run.onset + DETECTION_STEPS
    if watch.alarms is not None:
        return any(run.onset <= row <= last and alarm.state == "firing" for row, alarm in watch.alarms)
    return bool(watch.alarm_on(threshold)[run.onset : last + 1].any())


def _num_pages(run: ScoredRun, watch: RunWatch, threshold: float | None, end: int) -> int:
    rows = Pages.of(watch.alarm_on(threshold).astype(np.float64), run.least_lead).at(0.5)
    return int((rows < end).sum())

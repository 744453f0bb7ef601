"""Everything that is told of one watcher.

Shape suffixes: C thresholds, N runs, B replicates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap, Estimate, interval
from foreshock.reference_models.scenarios.scoring.budget import budgets, choose, replicated_recall
from foreshock.reference_models.scenarios.scoring.event_score import EventScore, event_score
from foreshock.reference_models.scenarios.scoring.folder import WatchedFolder
from foreshock.reference_models.scenarios.scoring.outcome import outcome
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.sweep import Sweep, sweep, thresholds_of
from foreshock.reference_models.scenarios.scoring.watcher import FloatArray, Watcher

Thresholds = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class AtBudget:
    """A watcher re-thresholded to a budget of false alarms per 1,000 healthy steps.

    `recall` is the recall with an interval for which the threshold was chosen anew in every replicate;
    `score` holds the threshold fixed. `threshold` is None where no threshold keeps the budget.
    """

    budget: float
    threshold: float | None
    recall: Estimate
    score: EventScore | None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Froc:
    """False alarms per 1,000 healthy steps against recall, one point a threshold, thresholds falling."""

    thresholds: tuple[float, ...]
    false_per_1000: tuple[float, ...]
    recall: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class WatcherScore:
    """One watcher's scores. `unheard` says why there are none, None where there are."""

    name: str
    source: str
    threshold: float | None
    num_runs_heard: int
    published: EventScore | None
    unpublished: str | None
    budgets: dict[str, AtBudget]
    froc: Froc | None
    # By budget the recall in each replicate, for differences between watchers
    replicates: dict[str, FloatArray] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "source": self.source,
            "threshold": self.threshold,
            "num_runs_heard": self.num_runs_heard,
            "published": None if self.published is None else self.published.as_dict(),
            "unpublished": self.unpublished,
            "budgets": {key: each.as_dict() for key, each in self.budgets.items()},
            "froc": None if self.froc is None else asdict(self.froc),
        }


def watcher_score(
    folder: WatchedFolder,
    watcher: Watcher,
    bootstrap: Bootstrap,
    delay: int = 0,
    thresholds: Thresholds | None = None,
) -> WatcherScore:
    """Scores one watcher; `thresholds` by budget were chosen elsewhere, without them they are chosen here."""
    runs, watches = folder.runs, folder.of(watcher.name)
    num_heard = sum(watch.speaks for watch in watches)
    unpublished = _why_unpublished(watcher, watches, num_heard)
    published = None
    if unpublished is None:
        outcomes = [
            outcome(run, watch.alarm_on(watcher.threshold), delay)
            for run, watch in zip(runs, watches, strict=True)
        ]
        published = event_score(runs, outcomes, bootstrap)
    scores = folder.scores(watcher.name)
    given = [] if thresholds is None else list(thresholds.values())
    swept = sweep(runs, scores, thresholds_of(runs, scores, watcher.threshold, *given), delay)
    at_budgets, replicates = {}, {}
    for budget in budgets(sum(run.healthy_end for run in runs)):
        key = f"{budget:g}"
        if not num_heard:
            continue
        at_budgets[key], replicates[key] = _at_budget(
            runs, scores, swept, bootstrap, delay, budget, thresholds
        )
    return WatcherScore(
        watcher.name,
        watcher.source,
        watcher.threshold,
        num_heard,
        published,
        unpublished,
        at_budgets,
        _froc(runs, swept) if num_heard else None,
        replicates,
    )


def _why_unpublished(watcher: Watcher, watches: Sequence[Any], num_heard: int) -> str | None:
    if not num_heard:
        return "no scored run records what it looks at"
    if watcher.threshold is None and all(watch.alarms is None for watch in watches):
        return "no threshold is published"
    return None


def _at_budget(
    runs: Sequence[ScoredRun],
    scores: Sequence[FloatArray],
    swept: Sweep,
    bootstrap: Bootstrap,
    delay: int,
    budget: float,
    thresholds: Thresholds | None,
) -> tuple[AtBudget, FloatArray]:
    key = f"{budget:g}"
    if thresholds is None:
        place = choose(swept, runs, budget)
        threshold = None if place is None else float(swept.thresholds[place])
        replicates_B = replicated_recall(swept, runs, bootstrap, budget)
    else:
        threshold = thresholds.get(key)
        replicates_B = np.full(bootstrap.num_replicates, np.nan)
    if threshold is None:
        why = "no threshold keeps the budget" if thresholds is None else "none was chosen elsewhere"
        return AtBudget(budget, None, Estimate(None, why=why), None), replicates_B
    outcomes = [outcome(run, score_R > threshold, delay) for run, score_R in zip(runs, scores, strict=True)]
    told = event_score(runs, outcomes, bootstrap)
    recall = told.recall
    if thresholds is None and recall.value is not None:
        recall = interval(recall.value, replicates_B)
    elif recall.value is not None:
        hits = np.array([each.fate == "hit" for each in outcomes])
        is_positive = np.array([run.is_positive for run in runs])
        with np.errstate(invalid="ignore"):
            replicates_B = bootstrap.sums(hits) / bootstrap.sums(is_positive)
    return AtBudget(budget, threshold, recall, told), replicates_B


def _froc(runs: Sequence[ScoredRun], swept: Sweep) -> Froc | None:
    healthy = sum(run.healthy_end for run in runs)
    num_positive = sum(run.is_positive for run in runs)
    if not healthy or not num_positive:
        return None
    rate_C = 1000 * swept.false_CN.sum(axis=1) / healthy
    recall_C = (swept.lead_CN > 0).sum(axis=1) / num_positive
    return Froc(
        tuple(swept.thresholds[::-1].tolist()), tuple(rate_C[::-1].tolist()), tuple(recall_C[::-1].tolist())
    )

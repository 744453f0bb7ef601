"""A watcher re-thresholded to a budget of false alarms.

Shape suffixes: N runs, B replicates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap, Estimate, interval
from foreshock.reference_models.scenarios.scoring.budget import choose, replicated_recall
from foreshock.reference_models.scenarios.scoring.event_score import EventScore, event_score
from foreshock.reference_models.scenarios.scoring.outcome import outcome
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.sweep import Sweep
from foreshock.reference_models.scenarios.scoring.watcher import FloatArray

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


def at_budget(
    runs: Sequence[ScoredRun],
    scores: Sequence[FloatArray],
    swept: Sweep,
    bootstrap: Bootstrap,
    delay: int,
    budget: float,
    thresholds: Thresholds | None,
) -> tuple[AtBudget, FloatArray]:
    """The scores within a budget, and the recall in each replicate [B].

    `thresholds` by budget were chosen elsewhere; without them the threshold is chosen here.
    """
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

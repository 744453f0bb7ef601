"""The threshold that keeps a false-alarm budget, chosen on the scored runs or on others, and what it gives.

Among the thresholds whose false alarms keep the budget the one with the highest recall is taken, of equals
the one with the fewest false alarms. Chosen on the scored runs this flatters, and every watcher alike.

Shape suffixes: C thresholds, N runs, B replicates.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.sweep import Sweep
from foreshock.reference_models.scenarios.scoring.watcher import FloatArray, IntArray

BUDGETS: Final = (0.05, 0.2, 1.0)
# A rate of 1 in 100,000 steps can only be told where enough healthy steps stand behind it
FINE_BUDGET: Final = 0.01
FINE_BUDGET_STEPS: Final = 300_000


def budgets(num_healthy_steps: int) -> tuple[float, ...]:
    """The budgets, in false alarms per 1,000 healthy steps."""
    return (FINE_BUDGET, *BUDGETS) if num_healthy_steps > FINE_BUDGET_STEPS else BUDGETS


def choose(swept: Sweep, runs: Sequence[ScoredRun], budget: float) -> int | None:
    """The place of the best threshold within a budget, None where none is or there is nothing to go by."""
    ones = np.ones((len(runs), 1))
    return int(found[0]) if (found := _best(swept, runs, ones, budget))[0] >= 0 else None


def replicated_recall(
    swept: Sweep, runs: Sequence[ScoredRun], bootstrap: Bootstrap, budget: float
) -> FloatArray:
    """The recall within a budget in each replicate [B], its threshold chosen anew; NaN without an event."""
    best_B = _best(swept, runs, bootstrap.draws_NB, budget)
    is_positive_N = np.array([run.is_positive for run in runs])
    hits_CB = bootstrap.sums(swept.lead_CN > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall_CB = hits_CB / bootstrap.sums(is_positive_N)
    recall_B = recall_CB[np.maximum(best_B, 0), np.arange(len(best_B))]
    return np.where((best_B < 0) & ~np.isnan(recall_B), 0.0, recall_B)


def _best(swept: Sweep, runs: Sequence[ScoredRun], draws_NB: FloatArray, budget: float) -> IntArray:
    """The place of the best threshold in each replicate [B], -1 where none keeps the budget."""
    if not len(swept.thresholds):
        return np.full(draws_NB.shape[1], -1)
    healthy_B = np.array([run.healthy_end for run in runs], np.float64) @ draws_NB
    false_CB = swept.false_CN @ draws_NB
    hits_CB = (swept.lead_CN > 0).astype(np.float64) @ draws_NB
    keeps_CB = 1000 * false_CB <= budget * healthy_B
    # Hits decide, then few false pages, then the higher threshold
    value_CB = np.where(keeps_CB, hits_CB - false_CB / (1 + false_CB.max()), -np.inf)
    best_B = len(value_CB) - 1 - np.argmax(value_CB[::-1], axis=0)
    return np.where(keeps_CB.any(axis=0), best_B, -1).astype(np.int64)

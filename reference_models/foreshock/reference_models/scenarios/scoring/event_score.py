"""Recall, lead and false alarms of one watcher at one way of alarming.

Shape suffixes: N runs.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap, Estimate
from foreshock.reference_models.scenarios.scoring.outcome import FATES, Outcome
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.watcher import BoolArray

NO_EVENTS: Final = "no scored run has an event that could be foretold"
NO_HEALTHY: Final = "no scored run has healthy steps"


@dataclass(frozen=True, slots=True)
class EventScore:
    """Scores 1 to 3 of the protocol. Rates are per 1,000 healthy steps, leads in steps and in % of T.

    `foreseeable_recall` leaves out events that begin with a planted fault, of which nothing can tell.
    """

    recall: Estimate
    foreseeable_recall: Estimate
    fates: dict[str, int]
    lead_median_steps: Estimate
    lead_p10_steps: Estimate
    lead_median_percent: Estimate
    lead_p10_percent: Estimate
    num_false: int
    false_per_1000: Estimate
    healthy_runs_paged: Estimate
    recall_by_family: dict[str, Estimate]
    false_by_family: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def event_score(runs: Sequence[ScoredRun], outcomes: Sequence[Outcome], bootstrap: Bootstrap) -> EventScore:
    """The scores over all runs."""
    is_positive_N = np.array([run.is_positive for run in runs], np.bool_)
    is_foreseeable_N = is_positive_N & ~np.array([run.is_at_fault for run in runs], np.bool_)
    is_hit_N = np.array([each.fate == "hit" for each in outcomes], np.bool_)
    # A miss is a lead of 0; a run without an event has none
    lead_N = np.where(is_positive_N, [float(each.lead) for each in outcomes], np.nan)
    percent_N = 100 * lead_N / np.array([run.total_steps for run in runs], np.float64)
    false_N = np.array([each.num_false for each in outcomes], np.float64)
    healthy_N = np.array([run.healthy_end for run in runs], np.float64)
    is_healthy_N = np.array([run.healthy_end == run.num_rows for run in runs], np.bool_)
    fates = Counter(each.fate for each in outcomes)
    families = sorted({run.family for run in runs})

    def recall(is_asked_N: BoolArray, why: str = NO_EVENTS) -> Estimate:
        return bootstrap.ratio(is_hit_N & is_asked_N, is_asked_N, why)

    def of(family: str) -> BoolArray:
        return np.array([run.family == family for run in runs], np.bool_)

    return EventScore(
        recall=recall(is_positive_N),
        foreseeable_recall=recall(is_foreseeable_N),
        fates={fate: fates[fate] for fate in FATES},
        lead_median_steps=bootstrap.quantile(lead_N, 0.5, NO_EVENTS),
        lead_p10_steps=bootstrap.quantile(lead_N, 0.1, NO_EVENTS),
        lead_median_percent=bootstrap.quantile(percent_N, 0.5, NO_EVENTS),
        lead_p10_percent=bootstrap.quantile(percent_N, 0.1, NO_EVENTS),
        num_false=int(false_N.sum()),
        false_per_1000=bootstrap.ratio(false_N, healthy_N, NO_HEALTHY, 1000.0),
        healthy_runs_paged=bootstrap.ratio(
            is_healthy_N & np.array([each.num_pages > 0 for each in outcomes], np.bool_),
            is_healthy_N,
            "no scored run is healthy throughout",
        ),
        recall_by_family={
            family: recall(is_positive_N & of(family))
            for family in families
            if (is_positive_N & of(family)).any()
        },
        false_by_family={family: int(false_N[of(family)].sum()) for family in families},
    )

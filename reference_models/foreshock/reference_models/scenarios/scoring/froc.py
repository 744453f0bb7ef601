"""The free-response curve: recall against false alarms, threshold by threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.sweep import Sweep


@dataclass(frozen=True, slots=True)
class Froc:
    """False alarms per 1,000 healthy steps against recall, one point a threshold, thresholds falling."""

    thresholds: tuple[float, ...]
    false_per_1000: tuple[float, ...]
    recall: tuple[float, ...]


def froc(runs: Sequence[ScoredRun], swept: Sweep) -> Froc | None:
    """The curve of a sweep; None without healthy steps or events."""
    healthy = sum(run.healthy_end for run in runs)
    num_positive = sum(run.is_positive for run in runs)
    if not healthy or not num_positive:
        return None
    rate_C = 1000 * swept.false_CN.sum(axis=1) / healthy
    recall_C = (swept.lead_CN > 0).sum(axis=1) / num_positive
    return Froc(
        tuple(swept.thresholds[::-1].tolist()), tuple(rate_C[::-1].tolist()), tuple(recall_C[::-1].tolist())
    )

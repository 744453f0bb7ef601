"""Whether the ranking of the watchers holds when the labels' thresholds are varied, as the protocol asks."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from foreshock.reference_models.errors import LabelError
from foreshock.reference_models.scenarios.label_rules import LabelRules, varied_rules
from foreshock.reference_models.scenarios.labels import label
from foreshock.reference_models.scenarios.record import read_record
from foreshock.reference_models.scenarios.scoring.budget import choose
from foreshock.reference_models.scenarios.scoring.folder import OnRun, WatchedFolder
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun, relabelled
from foreshock.reference_models.scenarios.scoring.sweep import sweep, thresholds_of

BUDGET = 0.05


@dataclass(frozen=True, slots=True)
class Variation:
    """One variation of the labels: each watcher's recall at the budget, and the ranking's agreement.

    `kendall_tau` is that with the ranking under the protocol's own thresholds, None where all are equal.
    """

    severe_z: float
    support: int
    window_scale: float
    num_positive: int
    recall: dict[str, float | None]
    judged_is_first: bool
    kendall_tau: float | None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def variations(folder: WatchedFolder, names: Sequence[str], on_run: OnRun) -> tuple[Variation, ...]:
    """The 27 variations, the first of `names` being the one that is judged; tells `on_run` of each."""
    losses = [read_record(folder.directory / run.run_id, verify=False).losses() for run in folder.runs]
    usual = _recalls(folder, folder.runs, names)
    rules = list(varied_rules())
    found = []
    for done, one in enumerate(rules, start=1):
        runs = [_varied(run, *curve, one) for run, curve in zip(folder.runs, losses, strict=True)]
        found.append(_variation(one, runs, _recalls(folder, runs, names), usual, names))
        on_run("labels varied", done, len(rules))
    return tuple(found)


def _varied(
    run: ScoredRun,
    steps: np.ndarray[Any, np.dtype[np.int64]],
    losses: np.ndarray[Any, Any],
    rules: LabelRules,
) -> ScoredRun:
    try:
        labels = label(losses, steps, total_steps=run.total_steps, rules=rules)
    except LabelError:
        return replace(run, onset=None, kind=None, num_events=0, has_diverged=False)
    return relabelled(run, steps, [(event.kind, event.onset_step) for event in labels.events])


def _recalls(
    folder: WatchedFolder, runs: Sequence[ScoredRun], names: Sequence[str]
) -> dict[str, float | None]:
    num_positive = sum(run.is_positive for run in runs)
    recalls: dict[str, float | None] = {}
    for name in names:
        scores = folder.scores(name)
        swept = sweep(runs, scores, thresholds_of(runs, scores))
        place = choose(swept, runs, BUDGET)
        if not num_positive or place is None:
            recalls[name] = None if not num_positive else 0.0
        else:
            recalls[name] = float((swept.lead_CN[place] > 0).sum() / num_positive)
    return recalls


def _variation(
    rules: LabelRules,
    runs: Sequence[ScoredRun],
    recalls: dict[str, float | None],
    usual: dict[str, float | None],
    names: Sequence[str],
) -> Variation:
    ours = np.array([recalls[name] or 0.0 for name in names])
    theirs = np.array([usual[name] or 0.0 for name in names])
    tau = float(kendalltau(ours, theirs).statistic) if np.ptp(ours) and np.ptp(theirs) else None
    return Variation(
        rules.severe_z,
        rules.support,
        rules.window_scale,
        sum(run.is_positive for run in runs),
        recalls,
        bool(ours[0] > 0 and ours[0] >= ours.max()),
        tau,
    )

"""The other claim, structural risk: against the label of stress forks, and before divergence.

Shape suffixes: R rows, N runs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from scipy.stats import rankdata

from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap, Estimate, interval
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.watcher import FloatArray
from foreshock.reference_models.scenarios.scoring.watching import RunWatch, open_rows

# Slow signals come every few steps: at a fork the largest score of so many rows before it counts
LOOK_BACK_ROWS: Final = 20
FLAG_SHARE: Final = 0.1
FLAGGING: Final = ("warning", "critical")


@dataclass(frozen=True, slots=True)
class ForkScore:
    """How well the score at a fork tells runs at risk from the others."""

    auroc: Estimate
    num_at_risk: int
    num_safe: int


@dataclass(frozen=True, slots=True)
class StructuralScore:
    """AUROC by share of T over all runs and among HC; and what was flagged.

    `diverging_flagged`: of the runs that end in divergence, the share flagged within the first 10 % of T or
    within 10 % of T after a planted fault, and before the onset. `healthy_flagged`: of the runs without an
    event that carry no known risk, the share flagged at any time.
    """

    all_runs: dict[str, ForkScore]
    hc_only: dict[str, ForkScore]
    diverging_flagged: Estimate
    num_diverging: int
    healthy_flagged: Estimate
    healthy_flagged_in_window: Estimate
    num_healthy: int

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def structural_score(
    runs: Sequence[ScoredRun],
    watches: Sequence[RunWatch],
    threshold: float | None,
    bootstrap: Bootstrap,
) -> StructuralScore:
    """The scores; a watcher without alerts flags where its score is above its published threshold."""
    flags = [_flagged_rows(watch, threshold) for watch in watches]
    no_flags = threshold is None and all(watch.alarms is None for watch in watches)
    is_diverging_N = np.array([run.has_diverged for run in runs], np.bool_)
    is_healthy_N = np.array([_is_sound(run) for run in runs], np.bool_)
    early_N = np.array([_is_flagged_early(run, rows) for run, rows in zip(runs, flags, strict=True)])
    ever_N = np.array([len(rows) > 0 for rows in flags], np.bool_)
    no_diverging = "it publishes nothing to flag with" if no_flags else "no scored run ends in divergence"
    no_healthy = "it publishes nothing to flag with" if no_flags else "no scored run is healthy throughout"
    shares = sorted({fork.share for run in runs for fork in run.forks})
    is_hc_N = np.array([run.connection == "hc" for run in runs], np.bool_)
    told = is_diverging_N & (not no_flags), is_healthy_N & (not no_flags)
    return StructuralScore(
        all_runs={f"{s:g}": fork_score(runs, watches, s, bootstrap, is_hc_N | True) for s in shares},
        hc_only={f"{s:g}": fork_score(runs, watches, s, bootstrap, is_hc_N) for s in shares},
        diverging_flagged=bootstrap.ratio(early_N & told[0], told[0], no_diverging),
        num_diverging=int(is_diverging_N.sum()),
        healthy_flagged=bootstrap.ratio(ever_N & told[1], told[1], no_healthy),
        healthy_flagged_in_window=bootstrap.ratio(early_N & told[1], told[1], no_healthy),
        num_healthy=int(is_healthy_N.sum()),
    )


def fork_score(
    runs: Sequence[ScoredRun],
    watches: Sequence[RunWatch],
    share: float,
    bootstrap: Bootstrap,
    is_asked_N: np.ndarray[Any, np.dtype[np.bool_]],
) -> ForkScore:
    """AUROC at the forks of one share; cannot be told without runs of both kinds."""
    places, scores, labels = [], [], []
    for place, (run, watch) in enumerate(zip(runs, watches, strict=True)):
        for fork in run.forks:
            if fork.share != share or fork.at_risk is None or not is_asked_N[place] or not fork.row:
                continue
            places.append(place)
            scores.append(_score_before(watch, fork.row))
            labels.append(fork.at_risk)
    values, at_risk = np.array(scores, np.float64), np.array(labels, np.bool_)
    num_at_risk, num_safe = int(at_risk.sum()), int((~at_risk).sum())
    if not num_at_risk or not num_safe:
        why = f"{num_at_risk} runs are labelled at risk and {num_safe} not; both kinds are needed"
        return ForkScore(Estimate(None, why=why), num_at_risk, num_safe)
    if np.isnan(values).all():
        return ForkScore(Estimate(None, why="it has no score at any fork"), num_at_risk, num_safe)
    # What was not scored was not warned of
    values = np.where(np.isnan(values), -np.inf, values)
    replicates = [
        _auroc(np.repeat(values, counts), np.repeat(at_risk, counts))
        for counts in bootstrap.draws_NB[places].astype(np.int64).T
    ]
    estimate = interval(_auroc(values, at_risk), np.array(replicates))
    return ForkScore(estimate, num_at_risk, num_safe)


def _auroc(values: FloatArray, at_risk: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """The share of pairs in which the run at risk has the higher score, ties counting half (Mann-Whitney)."""
    positive, negative = int(at_risk.sum()), int((~at_risk).sum())
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(values)
    return float((ranks[at_risk].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _score_before(watch: RunWatch, row: int) -> float:
    track = watch.score_R if watch.structural_R is None else watch.structural_R
    recent = track[max(0, row - LOOK_BACK_ROWS) : row]
    return float(np.fmax.reduce(recent)) if len(recent) else float("nan")


def _flagged_rows(watch: RunWatch, threshold: float | None) -> FloatArray:
    """The rows at which a structural flag is up."""
    if watch.alarms is not None:
        on_R = open_rows(watch.alarms, len(watch.score_R), ("structural", "rule"), FLAGGING)
    else:
        on_R = watch.alarm_on(threshold)
    return np.flatnonzero(on_R).astype(np.float64)


def _is_sound(run: ScoredRun) -> bool:
    """Whether a run is healthy in structure too, as far as is known."""
    return run.onset is None and run.expected == "negative" and not any(fork.at_risk for fork in run.forks)


def _is_flagged_early(run: ScoredRun, rows: FloatArray) -> bool:
    window = round(FLAG_SHARE * run.total_steps)
    starts = [row for row in run.fault_rows if run.onset is None or row <= run.onset] or [0]
    end = run.num_rows if run.onset is None else run.onset
    return any(((rows >= start) & (rows <= start + window) & (rows < end)).any() for start in starts)

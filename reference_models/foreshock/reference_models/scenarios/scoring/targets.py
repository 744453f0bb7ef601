"""The protocol's targets, one by one: met, missed, or not to be told from these runs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap, Estimate, interval
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.watcher_score import WatcherScore

State = Literal["met", "missed", "cannot be told"]

BUDGET: Final = "0.05"
FAMILIES_WITH_LEAD: Final = ("F1", "F3", "F4", "F5", "F6")


@dataclass(frozen=True, slots=True)
class Target:
    """One target: what is asked for, whether these runs meet it, and the figures behind it in words."""

    key: str
    asked: str
    state: State
    told: str
    figures: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Margin:
    """The recall above the best re-thresholded baseline at one budget."""

    best: str | None
    difference: Estimate


def margin(judged: WatcherScore, others: Sequence[WatcherScore], budget: str = BUDGET) -> Margin:
    """The recall of the judged watcher less that of the best other one at the same budget.

    In each replicate the best of the others is found anew, so that the interval pays for the choice.
    """
    own = judged.budgets.get(budget)
    rivals = [
        each
        for each in others
        if (at := each.budgets.get(budget)) is not None and at.recall.value is not None
    ]
    if own is None or own.recall.value is None or not rivals:
        return Margin(None, Estimate(None, why="the judged watcher or every baseline has no recall at it"))

    def recall(each: WatcherScore) -> float:
        return each.budgets[budget].recall.value or 0.0

    best = max(rivals, key=recall)
    replicates = judged.replicates[budget] - np.max([each.replicates[budget] for each in rivals], axis=0)
    return Margin(best.name, interval(recall(judged) - recall(best), replicates))


def targets(
    judged: WatcherScore,
    others: Sequence[WatcherScore],
    runs: Sequence[ScoredRun],
    bootstrap: Bootstrap,
    unseen_families: frozenset[str],
) -> tuple[Target, ...]:
    """T1 to T8 for one watcher; `unseen_families` are those that no part of it was fitted or tuned to."""
    return (
        _recall(judged),
        _lead(judged, runs, bootstrap),
        _flags(judged),
        _forks(judged),
        _margin(margin(judged, others)),
        _calibration(judged),
        _exogenous(judged),
        _unseen(judged, runs, bootstrap, unseen_families),
    )


def _recall(judged: WatcherScore) -> Target:
    asked = "endogenous recall of 0.90 or more at 0.05 or fewer false alarms per 1,000 healthy steps"
    at = judged.published
    if at is None:
        return Target("T1", asked, "cannot be told", judged.unpublished or "", {})
    recall, false = at.recall, at.false_per_1000
    figures = {"recall": asdict(recall), "false_per_1000": asdict(false)}
    matched = judged.budgets.get(BUDGET)
    if matched is not None:
        figures["recall_at_budget"] = asdict(matched.recall)
    why = recall.why or false.why
    if recall.value is None or false.value is None:
        return Target("T1", asked, "cannot be told", why or "", figures)
    told = f"its alerts find {_share(recall)} at {_number(false)} false alarms per 1,000 steps"
    if at.foreseeable_recall.value is not None and at.foreseeable_recall.value != recall.value:
        told += f"; {_share(at.foreseeable_recall)} of the events that do not begin with a planted fault"
        figures["foreseeable_recall"] = asdict(at.foreseeable_recall)
    return Target("T1", asked, _state(recall.value >= 0.9 and false.value <= 0.05), told, figures)


def _lead(judged: WatcherScore, runs: Sequence[ScoredRun], bootstrap: Bootstrap) -> Target:
    asked = "median lead of 5 % of T or more on the runs of F1, F3 to F6 that have an event"
    if judged.published is None:
        return Target("T2", asked, "cannot be told", judged.unpublished or "", {})
    percent_N = [
        100 * each.lead / run.total_steps if run.is_positive and run.family in FAMILIES_WITH_LEAD else np.nan
        for run, each in zip(runs, judged.outcomes, strict=True)
    ]
    lead = bootstrap.quantile(percent_N, 0.5, "no scored run of these families has an event")
    if lead.value is None:
        return Target("T2", asked, "cannot be told", lead.why or "", {})
    told = f"the median lead is {_number(lead)} % of T, a miss counted as 0"
    return Target("T2", asked, _state(lead.value >= 5), told, {"lead_median_percent": asdict(lead)})


def _flags(judged: WatcherScore) -> Target:
    asked = (
        "95 % of the runs that end in divergence flagged as structural risk within 10 % of T of the start "
        "or of a planted fault; at most 5 % of healthy runs flagged"
    )
    flagged = judged.structural.diverging_flagged
    healthy = judged.structural.healthy_flagged
    figures = {"diverging_flagged": asdict(flagged), "healthy_flagged": asdict(healthy)}
    if flagged.value is None or healthy.value is None:
        return Target("T3", asked, "cannot be told", flagged.why or healthy.why or "", figures)
    told = (
        f"{_share(flagged)} of {judged.structural.num_diverging} diverging runs are flagged in time, and "
        f"{_share(healthy)} of {judged.structural.num_healthy} healthy ones at any time"
    )
    return Target("T3", asked, _state(flagged.value >= 0.95 and healthy.value <= 0.05), told, figures)


def _forks(judged: WatcherScore) -> Target:
    asked = "structural AUROC of 0.95 or more at 10 % of T over all runs, and told among HC runs alone"
    at = judged.structural.all_runs.get("0.1")
    if at is None:
        return Target("T4", asked, "cannot be told", "no scored run was forked at 10 % of T", {})
    among = judged.structural.hc_only["0.1"]
    figures = {"all_runs": asdict(at), "hc_only": asdict(among)}
    if at.auroc.value is None:
        return Target("T4", asked, "cannot be told", at.auroc.why or "", figures)
    hc = among.auroc.why if among.auroc.value is None else _number(among.auroc)
    told = f"{_number(at.auroc)} with {at.num_at_risk} runs at risk and {at.num_safe} not; among HC: {hc}"
    return Target("T4", asked, _state(at.auroc.value >= 0.95), told, figures)


def _margin(found: Margin) -> Target:
    asked = "0.20 recall or more above the best re-thresholded baseline, lower bound above 0"
    value, low = found.difference.value, found.difference.low
    figures = {"best": found.best, "difference": asdict(found.difference)}
    if value is None or low is None:
        why = found.difference.why or "its interval cannot be told"
        return Target("T5", asked, "cannot be told", why, figures)
    told = f"{_number(found.difference)} above {found.best}"
    return Target("T5", asked, _state(value >= 0.2 and low > 0), told, figures)


def _calibration(judged: WatcherScore) -> Target:
    asked = "per horizon Brier skill of 0.3 or more against its climatology, and ECE of 0.05 or less"
    if judged.calibration is None:
        return Target("T6", asked, "cannot be told", "it gives no probability", {})
    skills = {horizon: each.brier_skill for horizon, each in judged.calibration.items()}
    errors = {horizon: each.ece for horizon, each in judged.calibration.items()}
    figures = {
        horizon: {"brier_skill": asdict(skills[horizon]), "ece": asdict(errors[horizon])}
        for horizon in skills
    }
    untold = [each.why or "" for each in (*skills.values(), *errors.values()) if each.value is None]
    if untold:
        return Target("T6", asked, "cannot be told", untold[0], figures)
    is_met = all((each.value or 0.0) >= 0.3 for each in skills.values()) and all(
        (each.value or 0.0) <= 0.05 for each in errors.values()
    )
    told = "; ".join(
        f"{horizon}: skill {_number(skills[horizon])}, ECE {_number(errors[horizon])}" for horizon in skills
    )
    return Target("T6", asked, _state(is_met), told, figures)


def _exogenous(judged: WatcherScore) -> Target:
    asked = "98 % of the events of planted faults detected within 3 steps of onset, nothing claimed before"
    found = judged.exogenous
    if found.detected.value is None:
        return Target("T7", asked, "cannot be told", found.detected.why or "", found.as_dict())
    is_quiet = not found.leaks and (found.p_value is None or found.p_value >= 0.05)
    told = (
        f"{_share(found.detected)} of {found.num_events} are detected; {found.pages_before} pages in "
        f"{found.steps_before:,} steps before the faults; {len(found.leaks)} leaks in "
        f"{found.num_leak_tests} runs"
    )
    return Target("T7", asked, _state(found.detected.value >= 0.98 and is_quiet), told, found.as_dict())


def _unseen(
    judged: WatcherScore,
    runs: Sequence[ScoredRun],
    bootstrap: Bootstrap,
    unseen_families: frozenset[str],
) -> Target:
    asked = "recall of 0.70 or more at 0.05 false alarms per 1,000 steps on families never seen"
    if judged.published is None:
        return Target("T8", asked, "cannot be told", judged.unpublished or "", {})
    is_asked_N = np.array([run.is_positive and run.family in unseen_families for run in runs], np.bool_)
    is_hit_N = np.array([each.fate == "hit" for each in judged.outcomes], np.bool_)
    why = "no run with an event is of a family that is known to be unseen"
    recall = bootstrap.ratio(is_hit_N & is_asked_N, is_asked_N, why)
    false = judged.published.false_per_1000
    if recall.value is None or false.value is None:
        return Target("T8", asked, "cannot be told", recall.why or false.why or "", {})
    families = sorted({run.family for run in runs if run.family in unseen_families and run.is_positive})
    told = f"{_share(recall)} over {', '.join(families)} at {_number(false)} false alarms per 1,000 steps"
    is_met = recall.value >= 0.7 and false.value <= 0.05
    return Target("T8", asked, _state(is_met), told, {"recall": asdict(recall)})


def _state(is_met: bool) -> State:
    return "met" if is_met else "missed"


def _share(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.0%}"
    return f"{estimate.value:.0%} [{estimate.low:.0%}, {estimate.high:.0%}]"


def _number(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3g}"
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"

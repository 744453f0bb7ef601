"""Everything that is told of one watcher."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from foreshock.reference_models.scenarios.scoring.at_budget import AtBudget, Thresholds, at_budget
from foreshock.reference_models.scenarios.scoring.attribution import Attribution, attribution
from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap
from foreshock.reference_models.scenarios.scoring.budget import budgets
from foreshock.reference_models.scenarios.scoring.calibration import Reliability, calibration
from foreshock.reference_models.scenarios.scoring.event_score import EventScore, event_score
from foreshock.reference_models.scenarios.scoring.exogenous import ExogenousScore, exogenous_score
from foreshock.reference_models.scenarios.scoring.folder import WatchedFolder
from foreshock.reference_models.scenarios.scoring.froc import Froc, froc
from foreshock.reference_models.scenarios.scoring.molchan import Molchan, MolchanPoint, molchan, molchan_point
from foreshock.reference_models.scenarios.scoring.outcome import Outcome, outcome
from foreshock.reference_models.scenarios.scoring.structural import StructuralScore, structural_score
from foreshock.reference_models.scenarios.scoring.sweep import sweep, thresholds_of
from foreshock.reference_models.scenarios.scoring.watcher import FloatArray, Known
from foreshock.reference_models.scenarios.scoring.watching import RunWatch


@dataclass(frozen=True, slots=True)
class WatcherScore:
    """One watcher's scores.

    `published` is what its alerts or its published threshold give; None where there are none, and
    `unpublished` says why. `outcomes` are those of the runs under it. `replicates` holds by budget the
    recall in each replicate, for differences between watchers.
    """

    name: str
    source: str
    threshold: float | None
    num_runs_heard: int
    published: EventScore | None
    unpublished: str | None
    budgets: dict[str, AtBudget]
    froc: Froc | None
    molchan: Molchan | None
    molchan_by_schedule: Molchan | None
    molchan_point: MolchanPoint | None
    calibration: dict[str, Reliability] | None
    structural: StructuralScore
    attribution: Attribution | None
    exogenous: ExogenousScore
    outcomes: tuple[Outcome, ...]
    replicates: Mapping[str, FloatArray]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        horizons = self.calibration or {}
        return {
            "source": self.source,
            "threshold": self.threshold,
            "num_runs_heard": self.num_runs_heard,
            "published": self.published and self.published.as_dict(),
            "unpublished": self.unpublished,
            "budgets": {key: each.as_dict() for key, each in self.budgets.items()},
            "froc": self.froc and asdict(self.froc),
            "molchan": self.molchan and self.molchan.as_dict(),
            "molchan_by_schedule": self.molchan_by_schedule and self.molchan_by_schedule.as_dict(),
            "molchan_point": self.molchan_point and asdict(self.molchan_point),
            "calibration": {key: each.as_dict() for key, each in horizons.items()} or None,
            "structural": self.structural.as_dict(),
            "attribution": self.attribution and self.attribution.as_dict(),
            "exogenous": self.exogenous.as_dict(),
        }


def watcher_score(
    folder: WatchedFolder,
    watcher: Known,
    bootstrap: Bootstrap,
    delay: int = 0,
    thresholds: Thresholds | None = None,
) -> WatcherScore:
    """Scores one watcher; `thresholds` by budget were chosen elsewhere, without them they are chosen here."""
    runs, watches, scores = folder.runs, folder.of(watcher.name), folder.scores(watcher.name)
    num_heard = sum(watch.speaks for watch in watches)
    unpublished = _why_unpublished(watcher, watches, num_heard)
    on = [watch.alarm_on(watcher.threshold) for watch in watches]
    outcomes = tuple(outcome(run, on_R, delay) for run, on_R in zip(runs, on, strict=True))
    given = [] if thresholds is None else list(thresholds.values())
    grid = thresholds_of(runs, scores, watcher.threshold, *given)
    swept = sweep(runs, scores, grid, delay)
    by_hour = sweep(runs, scores, grid, delay, folder.hour_weights())
    asked = budgets(sum(run.healthy_end for run in runs)) if num_heard else ()
    found = {
        f"{budget:g}": at_budget(runs, scores, swept, bootstrap, delay, budget, thresholds)
        for budget in asked
    }
    return WatcherScore(
        name=watcher.name,
        source=watcher.source,
        threshold=watcher.threshold,
        num_runs_heard=num_heard,
        published=event_score(runs, outcomes, bootstrap) if unpublished is None else None,
        unpublished=unpublished,
        budgets={key: at for key, (at, _) in found.items()},
        froc=froc(runs, swept) if num_heard else None,
        molchan=molchan(runs, swept, bootstrap) if num_heard else None,
        molchan_by_schedule=molchan(runs, by_hour, bootstrap, folder.hour_weights()) if num_heard else None,
        molchan_point=molchan_point(runs, on) if unpublished is None else None,
        calibration=calibration(runs, [watch.risk_RH for watch in watches], bootstrap),
        structural=structural_score(runs, watches, watcher.threshold, bootstrap),
        attribution=attribution(runs, watches, bootstrap),
        exogenous=exogenous_score(runs, watches, watcher.threshold, bootstrap),
        outcomes=outcomes,
        replicates={key: replicates for key, (_, replicates) in found.items()},
    )


def _why_unpublished(watcher: Known, watches: Sequence[RunWatch], num_heard: int) -> str | None:
    if not num_heard:
        return "no scored run records what it looks at"
    if watcher.threshold is None and all(watch.alarms is None for watch in watches):
        return "no threshold is published"
    return None

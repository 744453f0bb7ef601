"""Scores a folder of recorded runs: every watcher over every run, as the protocol has it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from foreshock.reference_models.errors import ScoreError
from foreshock.reference_models.scenarios.scoring.at_budget import Thresholds
from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap
from foreshock.reference_models.scenarios.scoring.folder import OnRun, WatchedFolder, watch_directory
from foreshock.reference_models.scenarios.scoring.scoring_options import ScoringOptions
from foreshock.reference_models.scenarios.scoring.targets import Target, targets
from foreshock.reference_models.scenarios.scoring.variations import Variation, variations
from foreshock.reference_models.scenarios.scoring.watcher import Known, Watcher
from foreshock.reference_models.scenarios.scoring.watcher_score import WatcherScore, watcher_score

FORMAT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """What a folder's runs say of each watcher; the first is the one that is judged."""

    folder: WatchedFolder
    options: ScoringOptions
    watchers: dict[str, WatcherScore]
    targets: tuple[Target, ...]
    variations: tuple[Variation, ...]
    missing: dict[str, str]
    thresholds_from: str

    @property
    def judged(self) -> WatcherScore:
        """The watcher that is held against the others."""
        return next(iter(self.watchers.values()))

    def as_dict(self) -> dict[str, Any]:
        """For `--json` and the file; the keys are told in the room's README."""
        return {
            "format_version": FORMAT_VERSION,
            "directory": str(self.folder.directory),
            "runs": run_counts(self.folder),
            "thresholds_from": self.thresholds_from,
            "delay_steps": self.options.delay_steps,
            "bootstrap": {"replicates": self.options.num_replicates, "seed": self.options.seed},
            "judged": self.judged.name,
            "targets": [target.as_dict() for target in self.targets],
            "variations": [variation.as_dict() for variation in self.variations],
            "events": events(self.folder, self.judged),
            "watchers": {name: each.as_dict() for name, each in self.watchers.items()},
            "missing_watchers": self.missing,
        }

    def thresholds(self) -> dict[str, Thresholds]:
        """Each watcher's thresholds by budget, to score another folder with."""
        return {
            name: {key: at.threshold for key, at in each.budgets.items()}
            for name, each in self.watchers.items()
        }


Unseen = Callable[[Iterable[str]], frozenset[str]]


def score(
    directory: Path,
    watchers: Sequence[Watcher],
    options: ScoringOptions | None = None,
    *,
    thresholds: Mapping[str, Thresholds] | None = None,
    unseen: Unseen = lambda families: frozenset(),
    missing: Mapping[str, str] | None = None,
    on_run: OnRun = lambda run, done, total: None,
) -> Scoreboard:
    """Scores every run of `directory` under every watcher; the first watcher is held against the others.

    `thresholds` are those of another folder's Scoreboard. `unseen` picks of the runs' families those to
    which nothing in the judged watcher was fitted or tuned. Runs that are not labelled yet are labelled.
    Raises ScoreError where nothing can be scored.
    """
    options = options or ScoringOptions()
    names = [watcher.name for watcher in watchers]
    if not names or len(set(names)) < len(names):
        raise ScoreError(f"watchers are {names}; give at least one, each of a name of its own")
    folder = watch_directory(directory, watchers, options.jobs, on_run)
    return score_folder(
        folder,
        watchers,
        options,
        thresholds=thresholds,
        unseen=unseen,
        missing=missing,
        on_run=on_run,
    )


def score_folder(
    folder: WatchedFolder,
    watchers: Sequence[Watcher],
    options: ScoringOptions,
    *,
    thresholds: Mapping[str, Thresholds] | None = None,
    unseen: Unseen = lambda families: frozenset(),
    missing: Mapping[str, str] | None = None,
    on_run: OnRun = lambda run, done, total: None,
) -> Scoreboard:
    """The same for a folder that has been watched."""
    bootstrap = Bootstrap.of(len(folder.runs), options.num_replicates, options.seed)
    everyone: list[Known] = [*watchers, folder.schedule_only]
    scores = {
        watcher.name: watcher_score(
            folder,
            watcher,
            bootstrap,
            options.delay_steps,
            None if thresholds is None else thresholds.get(watcher.name, {}),
        )
        for watcher in everyone
    }
    origin = "these runs" if thresholds is None else "other runs"
    judged, *others = scores.values()
    families = unseen({run.family for run in folder.runs})
    met = targets(judged, others, folder.runs, bootstrap, families)
    varied = variations(folder, list(scores), on_run) if options.varied else ()
    return Scoreboard(folder, options, scores, met, varied, dict(missing or {}), origin)


def events(folder: WatchedFolder, judged: WatcherScore) -> list[dict[str, Any]]:
    """Each run whose event counts, and what became of it; its lead in % of T, where it was a hit."""
    if judged.published is None:
        return []
    return [
        {
            "run_id": run.run_id,
            "family": run.family,
            "onset": run.onset,
            "fate": each.fate,
            "lead_steps": each.lead,
            "lead_percent": 100 * each.lead / run.total_steps,
        }
        for run, each in zip(folder.runs, judged.outcomes, strict=True)
        if run.is_positive
    ]


def run_counts(folder: WatchedFolder) -> dict[str, Any]:
    """How many runs there are, of which kind."""
    runs = folder.runs
    return {
        "scored": len(runs),
        "positive": sum(run.is_positive for run in runs),
        "events_at_a_fault": sum(run.is_positive and run.is_at_fault for run in runs),
        "exogenous": sum(run.is_exogenous for run in runs),
        "without_event": sum(run.onset is None for run in runs),
        "healthy_steps": sum(run.healthy_end for run in runs),
        "by_family": dict(sorted(Counter(run.family for run in runs).items())),
        "positive_by_family": dict(sorted(Counter(run.family for run in runs if run.is_positive).items())),
        "unscored": folder.unscored,
        "damaged": folder.damaged,
    }

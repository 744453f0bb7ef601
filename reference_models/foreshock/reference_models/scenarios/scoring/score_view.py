"""Scores as people read them in a terminal."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from foreshock.reference_models.scenarios.progress import LateProgress
from foreshock.reference_models.scenarios.scoring.bootstrap import Estimate
from foreshock.reference_models.scenarios.scoring.score import Scoreboard, run_counts
from foreshock.reference_models.scenarios.scoring.watcher_score import WatcherScore

_STATES = {"met": "green", "missed": "red", "cannot be told": "dim"}


class ScoreProgressView(LateProgress):
    """A bar over the runs that are watched."""

    def __init__(self) -> None:
        super().__init__("runs", None)

    def on_run(self, name: str, done: int, total: int) -> None:
        """Moves the bar, which begins here."""
        self._progress.start()
        self._progress.update(self._all, completed=done, total=total)


def watcher_table(board: Scoreboard) -> Table:
    """A line a watcher that had something to go by: as published, and its recall at each budget."""
    budgets = list(dict.fromkeys(key for each in board.watchers.values() for key in each.budgets))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("watcher", no_wrap=True)
    for title in ("recall", "false", "lead %", *(f"at {key}" for key in budgets), "Molchan"):
        table.add_column(title, justify="right", no_wrap=True)
    for each in board.watchers.values():
        if each.num_runs_heard:
            table.add_row(each.name, *map(Text, _cells(each, budgets)))
    return table


def target_table(board: Scoreboard) -> Table:
    """A line a target of the judged watcher."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for target in board.targets:
        state = Text(target.state, style=_STATES[target.state])
        table.add_row(target.key, state, Text(f"{target.asked}: {target.told}"))
    return table


def footnote(board: Scoreboard) -> str:
    """What was scored, and what the numbers are."""
    counts = run_counts(board.folder)
    told = (
        f"{counts['scored']} runs, {counts['positive']} with an event that counts, "
        f"{counts['healthy_steps']:,} healthy steps; intervals are in the JSON and the page. Recall, false "
        "alarms per 1,000 healthy steps and median lead in % of T (a miss counted as 0) are those of the "
        f"alerts or the published threshold; at a budget of false alarms: recall, the threshold chosen on "
        f"{board.thresholds_from}. Molchan: skill, 0 for chance, 1 for perfect."
    )
    if counts["events_at_a_fault"]:
        told += (
            f" {counts['events_at_a_fault']} events begin with a planted fault: nothing can foretell them."
        )
    for what, names in (("too short or too sparse", "unscored"), ("damaged", "damaged")):
        if counts[names]:
            told += f" Left out as {what}: {_some(counts[names])}."
    unheard = [each.name for each in board.watchers.values() if not each.num_runs_heard]
    if unheard:
        told += f" No scored run records what these look at: {', '.join(unheard)}."
    if board.missing:
        told += f" Left out: {', '.join(board.missing)} ({next(iter(board.missing.values()))})."
    return told


def estimate_in_words(estimate: Estimate | None, style: str = ".2f") -> str:
    """`0.42 [0.31, 0.55]`, or a dash."""
    if estimate is None or estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{style}}"
    return f"{estimate.value:{style}} [{estimate.low:{style}}, {estimate.high:{style}}]"


def _cells(each: WatcherScore, budgets: Iterable[str]) -> list[str]:
    at = each.published
    cells = ["-", "-", "-"]
    if at is not None:
        cells = [
            _value(at.recall),
            _value(at.false_per_1000, ".2g"),
            _value(at.lead_median_percent, ".1f"),
        ]
    cells += [_value(each.budgets[key].recall if key in each.budgets else None) for key in budgets]
    return [*cells, _value(each.molchan.skill if each.molchan else None)]


def _value(estimate: Estimate | None, style: str = ".2f") -> str:
    """The value alone: the intervals of all would not fit."""
    return "-" if estimate is None or estimate.value is None else f"{estimate.value:{style}}"


def _some(named: dict[str, str], most: int = 3) -> str:
    shown = "; ".join(f"{name} ({why})" for name, why in list(named.items())[:most])
    return shown if len(named) <= most else f"{shown} and {len(named) - most} more"

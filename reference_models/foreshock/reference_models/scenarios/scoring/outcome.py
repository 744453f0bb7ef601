"""What became of an event under one watcher: warned in time, too late, too early, or not at all."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from foreshock.reference_models.scenarios.scoring.episodes import Pages
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.watcher import BoolArray, IntArray

Fate = Literal["hit", "short", "late", "early", "missed"]
FATES: Final[tuple[Fate, ...]] = ("hit", "short", "late", "early", "missed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run under one watcher.

    `fate` is of its event, None of a run without one that counts; `lead` in steps, 0 unless it is a hit.
    A page in the lead window is a hit. Else the first page is short between the window and the onset, late
    from the onset on within the earliest lead after it, early where an alarm that began before the window
    is still on in it. `num_false` pages began in the healthy rows, `num_pages` in all.
    """

    fate: Fate | None
    lead: int
    page_row: int | None
    num_false: int
    num_pages: int


def outcome(run: ScoredRun, on_R: BoolArray, delay: int = 0) -> Outcome:
    """The outcome of an alarm that is on in some rows [R]; each page arrives `delay` steps late."""
    rows = Pages.of(on_R.astype(np.float64), run.least_lead).at(0.5)
    num_false = int((rows < run.healthy_end).sum())
    if not run.is_positive or run.onset is None:
        return Outcome(None, 0, None, num_false, len(rows))
    fate, page = _fate(run, rows + delay, on_R, run.onset)
    lead = run.onset - page if fate == "hit" and page is not None else 0
    return Outcome(fate, lead, None if page is None else page - delay, num_false, len(rows))


def _fate(run: ScoredRun, arrivals: IntArray, on_R: BoolArray, onset: int) -> tuple[Fate, int | None]:
    opens, closes = onset - run.earliest_lead, onset - run.least_lead
    in_time = arrivals[(arrivals >= opens) & (arrivals <= closes)]
    if len(in_time):
        return "hit", int(in_time[0])
    after = arrivals[(arrivals > closes) & (arrivals < onset + run.earliest_lead)]
    if len(after):
        return ("short" if after[0] < onset else "late"), int(after[0])
    if on_R[max(0, opens) : onset].any():
        return "early", None
    return "missed", None

"""What can be foretold from the clock and the schedule alone: how often runs fail at such a time.

It sees the share of the run that has passed, and whether the schedule has changed of late: a logged change,
or a learning rate that has risen. It is fitted to the runs that are scored, those of other families (where
there is no other, other runs), so it is an adversary, not a product: a watcher that is no better knows when
the runs of this folder fail and nothing else.

Shape suffixes: S steps, R rows, K cells, H horizons and, behind them, the lead window.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from foreshock.reference_models.scenarios.scoring.baselines.windows import series
from foreshock.reference_models.scenarios.scoring.episodes import in_force
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.watcher import (
    HORIZONS,
    Attempt,
    FloatArray,
    IntArray,
    horizon_steps,
)
from foreshock.server.detection.block import Block

NUM_SHARES: Final = 20
NUM_CELLS: Final = 2 * NUM_SHARES
# A change of the schedule is recent for this share of the run
RECENT_SHARE: Final = 0.1
# So many steps at the overall rate are added to each cell: few runs must not make one certain
PRIOR_STEPS: Final = 500.0


@dataclass(frozen=True, slots=True)
class Lived:
    """A run's steps in each cell [K], and how many of them had its event within each span [K, H]."""

    run_id: str
    family: str
    steps_K: FloatArray
    soon_KH: FloatArray


@dataclass(frozen=True, slots=True)
class ScheduleOnly:
    """The share of steps with an event ahead [K, H], by family from the runs of others, or by run."""

    shares: Mapping[str, FloatArray]
    name: str = "schedule_only"
    source: str = "the clock and the schedule alone, fitted to other families"
    threshold: float | None = None

    @classmethod
    def fitted(cls, lives: Sequence[Lived]) -> Self:
        """Leaves each family out in turn; where there is only one, each run."""
        families = {life.family for life in lives}
        if len(families) > 1:
            return cls({each: shares(life for life in lives if life.family != each) for each in families})
        return cls({one.run_id: shares(life for life in lives if life is not one) for one in lives})

    def ahead(self, run: ScoredRun, cell_R: IntArray) -> FloatArray:
        """The chance that an event begins within each horizon, and in the lead window, at each row [R, H]."""
        ahead_KH = self.shares[run.family if run.family in self.shares else run.run_id]
        ahead_RH: FloatArray = ahead_KH[cell_R]
        return ahead_RH


def shares(lives: Iterable[Lived]) -> FloatArray:
    """The share of steps in each cell that had an event ahead [K, H]; cells of few steps lean on all."""
    known = list(lives)
    steps_K = np.sum([life.steps_K for life in known], axis=0) if known else np.zeros(NUM_CELLS)
    shape = (NUM_CELLS, len(HORIZONS) + 1)
    soon_KH = np.sum([life.soon_KH for life in known], axis=0) if known else np.zeros(shape)
    overall_H = soon_KH.sum(axis=0) / max(1.0, float(steps_K.sum()))
    ahead_KH: FloatArray = (soon_KH + PRIOR_STEPS * overall_H) / (steps_K[:, None] + PRIOR_STEPS)
    return ahead_KH


def lived(run: ScoredRun, cell_R: IntArray) -> Lived:
    """A run's steps before its first event by cell; what comes to an exogenous run comes at no time."""
    rows = np.arange(run.num_rows if run.onset is None else run.onset)
    ahead = np.full(len(rows), np.inf)
    if run.is_positive and run.onset is not None:
        ahead = run.onset - rows.astype(np.float64)
    spans = [ahead <= horizon_steps(each, run.total_steps) for each in HORIZONS]
    spans.append((ahead >= run.least_lead) & (ahead <= run.earliest_lead))
    soon_KH = np.stack(
        [np.bincount(cell_R[rows], weights=span.astype(np.float64), minlength=NUM_CELLS) for span in spans],
        axis=1,
    ).astype(np.float64)
    steps_K = np.bincount(cell_R[rows], minlength=NUM_CELLS).astype(np.float64)
    return Lived(run.run_id, run.family, steps_K, soon_KH)


def cells(attempt: Attempt, blocks: Sequence[Block]) -> IntArray:
    """The cell of each step [S]: its share of the run, and whether the schedule has changed of late."""
    steps_S = np.concatenate([block.steps for block in blocks])
    total = attempt.context.total_steps or int(steps_S.max()) + 1
    rates_S = series(blocks, "learning_rate")
    changed_S = np.concatenate([[False], rates_S[1:] > rates_S[:-1]])
    for change in attempt.changes:
        changed_S |= steps_S == steps_S[min(int(np.searchsorted(steps_S, change.step)), len(steps_S) - 1)]
    is_recent_S = changed_S | in_force(changed_S, max(1, round(RECENT_SHARE * total)), 1)
    share_S = np.minimum(NUM_SHARES - 1, NUM_SHARES * steps_S // max(1, total))
    cells_S: IntArray = share_S + NUM_SHARES * is_recent_S
    return cells_S

"""What a recorded run teaches the forecaster: its features at every row, and what lay ahead of each.

Shape suffixes: R rows, F features, H heads.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from foreshock.reference_models.scenarios.record import read_record
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun, scored_run
from foreshock.reference_models.scenarios.scoring.showing import attempts
from foreshock.reference_models.scenarios.scoring.watcher import BoolArray, FloatArray
from foreshock.server.detection.forecast.channels import read_channels
from foreshock.server.detection.forecast.features import compute_features
from foreshock.server.detection.forecast.fusion import HORIZONS, NUM_HEADS, STRUCTURAL
from foreshock.server.detection.forecast.tracks import Tracks, window_steps

# The first steps tell of nothing but the beginning
FIRST_ROW: Final = 20


@dataclass(frozen=True, slots=True)
class Sheet:
    """One run: features_RF, whether an event lay ahead within each head's horizon ahead_RH, rows that count.

    Rows count before the first event, and in an exogenous run before its first fault.
    """

    run: ScoredRun
    features_RF: FloatArray
    ahead_RH: BoolArray
    counts_R: BoolArray


def read_sheet(folder: Path) -> Sheet | None:
    """A record's sheet; None for a run that is not scored. Raises RecordError for a damaged one."""
    record = read_record(folder)
    run = scored_run(record)
    if run.unscored is not None:
        return None
    shown = list(attempts(record))
    features = [
        compute_features(Tracks(attempt.context).advance(read_channels(block))) for attempt, block in shown
    ]
    window = window_steps(shown[0][0].context)
    ahead = _ahead(run, window)
    end = run.num_rows if run.onset is None else run.onset
    if run.is_exogenous and run.fault_rows:
        end = min(end, run.fault_rows[0])
    rows = np.arange(run.num_rows)
    return Sheet(run, np.concatenate(features), ahead, (rows >= FIRST_ROW) & (rows < end))


def _ahead(run: ScoredRun, window: int) -> BoolArray:
    ahead = np.zeros((run.num_rows, NUM_HEADS), np.bool_)
    if run.onset is None or (run.is_exogenous and run.is_at_fault):
        return ahead
    left_R = run.onset - np.arange(run.num_rows)
    for head, horizon in enumerate(HORIZONS):
        ahead[:, head] = (left_R > 0) & (left_R <= horizon * window)
    ahead[:, STRUCTURAL] = (left_R > 0) & (run.kind in ("divergence", "slow_divergence"))
    return ahead

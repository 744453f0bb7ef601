"""What the model says of runs that it was not fitted to, and the thresholds that follow from it.

Shape suffixes: R rows, H heads.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from foreshock.reference_models.scenarios.fitting.additive import fit
from foreshock.reference_models.scenarios.fitting.pages import best_threshold
from foreshock.reference_models.scenarios.fitting.sheet import Sheet
from foreshock.reference_models.scenarios.scoring.watcher import FloatArray
from foreshock.server.detection.forecast.fusion import ALARM, STRUCTURAL, build

NUM_FOLDS: Final = 5
Fold = Callable[[Sheet], str]


def by_run(sheet: Sheet) -> str:
    """Five folds, each run in one by its name alone."""
    digest = hashlib.blake2b(sheet.run.run_id.encode(), digest_size=8).digest()
    return str(int.from_bytes(digest, "big") % NUM_FOLDS)


def by_family(sheet: Sheet) -> str:
    """A fold a family."""
    return sheet.run.family


def unseen_logits(sheets: Sequence[Sheet], fold: Fold) -> list[FloatArray]:
    """Each run's logits [R, H] by a model of the other folds."""
    logits: dict[str, FloatArray] = {}
    for own in sorted({fold(sheet) for sheet in sheets}):
        others = [sheet for sheet in sheets if fold(sheet) != own]
        model = build(fit(others))
        for sheet in sheets:
            if fold(sheet) == own:
                logits[sheet.run.run_id] = model.logits(sheet.features_RF)
    return [logits[sheet.run.run_id] for sheet in sheets]


def alarm_threshold(
    sheets: Sequence[Sheet], logits: Sequence[FloatArray], budget: float
) -> tuple[float, float]:
    """The logit that keeps a budget of false pages per 1,000 healthy steps, and the recall it gives."""
    found = best_threshold(sheets, [np.ascontiguousarray(one[:, ALARM]) for one in logits], budget)
    return (float("inf"), 0.0) if found is None else found[:2]


def structural_threshold(sheets: Sequence[Sheet], logits: Sequence[FloatArray], share: float) -> float:
    """The logit that at most this share of the runs without an event ever passes."""
    peaks = [
        float(one[sheet.counts_R, STRUCTURAL].max())
        for sheet, one in zip(sheets, logits, strict=True)
        if sheet.run.onset is None and sheet.counts_R.any()
    ]
    return float(np.quantile(peaks, 1 - share))

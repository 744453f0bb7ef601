"""When `spike_ahead` would page for a row of logits, at any threshold: the rule's own way, at once.

Shape suffixes: R rows, C thresholds, N runs.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from foreshock.reference_models.scenarios.fitting.sheet import Sheet
from foreshock.reference_models.scenarios.scoring.watcher import FloatArray
from foreshock.server.detection.rules.spike_ahead import SpikeAhead

MOST_THRESHOLDS: Final = 150
_RULE: Final = SpikeAhead()


def pages(logit_R: FloatArray, threshold: float, window: float) -> list[int]:
    """The rows at which a page goes out.

    The first once the logit has held for the rule's steps; any other after a window, where it has grown by
    the rule's margin over what was told last.
    """
    over_R = logit_R >= threshold
    held_R = over_R.copy()
    for ago in range(1, _RULE.hold_steps + 1):
        held_R[ago:] &= over_R[:-ago]
        held_R[:ago] = False
    rows: list[int] = []
    start, least = 0, threshold
    while len(found := np.flatnonzero(held_R[start:] & (logit_R[start:] >= least))):
        rows.append(start + int(found[0]))
        least = float(logit_R[rows[-1]]) + _RULE.again_margin
        start = rows[-1] + int(np.ceil(window))
    return rows


def best_threshold(
    sheets: Sequence[Sheet], logits: Sequence[FloatArray], budget: float
) -> tuple[float, float, float] | None:
    """Threshold, recall and false pages per 1,000 healthy steps: the best recall that keeps the budget.

    logits: of the head of alarms, [R] of each sheet. None where no threshold keeps the budget.
    """
    counted = np.concatenate([one[sheet.counts_R] for one, sheet in zip(logits, sheets, strict=True)])
    shares = 1 - np.geomspace(0.3, 1e-5, MOST_THRESHOLDS)
    thresholds_C = np.unique(np.quantile(counted[np.isfinite(counted)], shares))
    false_C = np.zeros(len(thresholds_C))
    hits_C = np.zeros(len(thresholds_C))
    for sheet, logit_R in zip(sheets, logits, strict=True):
        run = sheet.run
        for place, threshold in enumerate(thresholds_C.tolist()):
            rows = pages(logit_R, threshold, max(run.total_steps / 10, 1))
            false_C[place] += sum(row < run.healthy_end for row in rows)
            if run.is_positive and run.onset is not None:
                first, last = run.onset - run.earliest_lead, run.onset - run.least_lead
                hits_C[place] += any(max(first, run.healthy_end) <= row <= last for row in rows)
    rate_C = 1000 * false_C / max(sum(sheet.run.healthy_end for sheet in sheets), 1)
    keeps_C = rate_C <= budget
    if not keeps_C.any():
        return None
    # Hits decide, then few false pages
    value_C = np.where(keeps_C, hits_C - rate_C / (1 + rate_C), -np.inf)
    best = int(np.argmax(value_C))
    recall = float(hits_C[best]) / max(sum(sheet.run.is_positive for sheet in sheets), 1)
    return float(thresholds_C[best]), recall, float(rate_C[best])

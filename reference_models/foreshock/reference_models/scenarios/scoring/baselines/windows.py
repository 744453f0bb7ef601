"""Statistics of the values before each step, and the column that a baseline reads.

Shape suffixes: S steps.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from foreshock.reference_models.scenarios.scoring.watcher import FloatArray
from foreshock.server.detection.block import Block


def series(blocks: Sequence[Block], *names: str) -> FloatArray:
    """The largest over layers of the first of `names` that the attempt measured, NaN elsewhere, [S]."""
    return np.concatenate([_of_block(block, names) for block in blocks])


def _of_block(block: Block, names: Sequence[str]) -> FloatArray:
    for name in names:
        places = [place for place, series in enumerate(block.columns.series) if series == name]
        if places and block.present[:, places].any():
            worst: FloatArray = np.fmax.reduce(block.values[:, places], axis=1)
            return worst
    return np.full(len(block), np.nan)


def past(values_S: FloatArray, window: int) -> FloatArray:
    """The `window` values before each step, [S, window]; NaN before the first."""
    padded = np.concatenate([np.full(window, np.nan), values_S])
    view: FloatArray = sliding_window_view(padded, window)[: len(values_S)]
    return view


def past_moments(values_S: FloatArray, window: int, least: int) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation (of a sample) of the finite values among the `window` before each step.

    NaN where fewer than `least` are finite. Sums are of the values less their median: a window is short
    against float64, but a gradient norm of 1e30 must not spoil those after it, so each window is summed anew.
    """
    rows = past(np.where(np.isfinite(values_S), values_S, np.nan), window)
    known = ~np.isnan(rows)
    count = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = np.where(known, rows, 0.0).sum(axis=1) / count
        squares = np.where(known, (rows - mean[:, None]) ** 2, 0.0).sum(axis=1)
        deviation = np.sqrt(squares / (count - 1))
    enough = count >= max(2, least)
    return np.where(enough, mean, np.nan), np.where(enough, deviation, np.nan)


def sigmas(values_S: FloatArray, window: int, least: int) -> FloatArray:
    """By how many standard deviations each value lies above the mean of those before it.

    A value that is not finite is infinitely far; a window without spread tells nothing unless left.
    """
    mean, deviation = past_moments(values_S, window, least)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        z_S = (values_S - mean) / deviation
    z_S = np.where((deviation == 0) & (values_S <= mean), 0.0, z_S)
    return not_finite_is_infinite(z_S, values_S)


def not_finite_is_infinite(score_S: FloatArray, values_S: FloatArray) -> FloatArray:
    """The score, infinite where what was measured is infinite.

    NaN in `values_S` is left to the caller: a block cannot tell here what was NaN from what was missing.
    """
    return np.where(np.isposinf(values_S), np.inf, score_S)

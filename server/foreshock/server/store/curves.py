"""Curves of one column: pieces joined, ranks reduced, cut to a window, drawn as a map.

Several ranks become one curve as the catalogue says (`across_ranks`; the mean for a user's own
series). A value that is NaN on one rank makes the joined value NaN: what is broken stays seen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock.server.store.buckets import bucket_starts, bucket_width, extremes
from foreshock.server.store.tracks import Steps
from foreshock.wire import parse_column
from foreshock.wire.readings import LayerMap, Window

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """One column, ranks joined: rising steps [k] and values [k]."""

    column: str
    steps: Steps
    values: Reals


def common_width(curves: Sequence[Curve], window: Window) -> int:
    """One width for all curves, from the steps that the window shows of them."""
    lows = [int(curve.steps[0]) for curve in curves if len(curve.steps)]
    highs = [int(curve.steps[-1]) for curve in curves if len(curve.steps)]
    if not lows:
        return 1
    low = min(lows) if window.start is None else max(min(lows), window.start)
    high = max(highs) if window.stop is None else min(max(highs), window.stop)
    return bucket_width(low, max(low, high), window.buckets)


def cut(curve: Curve, window: Window, width: int) -> Curve:
    """The part of a curve that the window shows, widened to whole buckets so that none is half full."""
    begin, end = 0, len(curve.steps)
    if window.start is not None:
        begin = int(np.searchsorted(curve.steps, window.start // width * width, "left"))
    if window.stop is not None:
        end = int(np.searchsorted(curve.steps, (window.stop // width + 1) * width, "left"))
    return Curve(curve.column, curve.steps[begin:end], curve.values[begin:end])


def join(name: str, ranks: Iterable[list[tuple[Steps, Reals]]]) -> Curve:
    """Pieces of several layouts follow one another within a rank; ranks join as the catalogue says."""
    curves = [_follow(pieces) for pieces in ranks]
    if len(curves) == 1:
        return Curve(name, *curves[0])
    steps = np.unique(np.concatenate([steps for steps, _ in curves]))
    joined = np.full((len(curves), len(steps)), np.nan)
    present = np.zeros(joined.shape, bool)
    for row, (of_rank, values) in enumerate(curves):
        places = np.searchsorted(steps, of_rank)
        joined[row, places], present[row, places] = values, True
    return Curve(name, steps, reduce_ranks(name, joined, present))


def reduce_ranks(name: str, joined: Reals, present: NDArray[np.bool_]) -> Reals:
    signal = parse_column(name).signal
    across = signal.across_ranks if signal is not None else "mean"
    with np.errstate(invalid="ignore", over="ignore"):
        if across == "max":
            return np.asarray(np.max(np.where(present, joined, -np.inf), axis=0))
        if across == "min":
            return np.asarray(np.min(np.where(present, joined, np.inf), axis=0))
        return np.asarray(np.sum(np.where(present, joined, 0.0), axis=0) / present.sum(axis=0))


def _follow(pieces: list[tuple[Steps, Reals]]) -> tuple[Steps, Reals]:
    if len(pieces) == 1:
        return pieces[0]
    steps = np.concatenate([steps for steps, _ in pieces])
    values = np.concatenate([values for _, values in pieces])
    order = np.argsort(steps, kind="stable")
    steps, values = steps[order], values[order]
    # Where two layouts have the same step, the one declared later stands.
    keep = np.append(np.diff(steps) > 0, True) if len(steps) else np.zeros(0, bool)
    return steps[keep], values[keep]


def draw_map(series: str, num_layers: int, curves: Sequence[Curve], width: int) -> LayerMap:
    edges = np.unique(np.concatenate([curve.steps // width for curve in curves]))
    minimum, maximum, mean = (np.full((num_layers, len(edges)), np.nan) for _ in range(3))
    is_told = np.zeros((num_layers, len(edges)), bool)
    for rows, steps, values in _alike(curves):
        if len(steps) == 0:
            continue
        starts = bucket_starts(steps, width)
        places = np.searchsorted(edges, steps[starts] // width)
        reduced = extremes(values, starts)
        cells = np.ix_(np.array(rows), places)
        minimum[cells], maximum[cells], mean[cells] = reduced.minimum, reduced.maximum, reduced.mean
        is_told[cells] = True
    return LayerMap.of(series, width, edges * width, is_told, minimum=minimum, maximum=maximum, mean=mean)


def _alike(curves: Sequence[Curve]) -> Iterable[tuple[list[int], Steps, Reals]]:
    """Curves with equal steps stacked to one array [layers, k]: nearly always all of them."""
    groups: list[tuple[Steps, list[Curve]]] = []
    for curve in curves:
        for steps, members in groups:
            if np.array_equal(steps, curve.steps):
                members.append(curve)
                break
        else:
            groups.append((curve.steps, [curve]))
    for steps, members in groups:
        rows = [parse_column(curve.column).layer or 0 for curve in members]
        yield rows, steps, np.stack([curve.values for curve in members])

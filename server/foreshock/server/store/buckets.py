"""Buckets over steps: power-of-two widths at fixed edges, each with the extremes of what fell into it.

A bucket of width w holds the steps with the same step // w, so its edges do not move while a run
grows, and doubling the width joins exactly two neighbours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock.wire.readings import FloatArray, IntArray, SeriesBuckets

StepArray = NDArray[np.int64]
ValueArray = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Extremes:
    """Per bucket, over the last axis: extremes without NaN, the mean of finite values, their counts."""

    minimum: FloatArray
    maximum: FloatArray
    mean: FloatArray
    num_finite: IntArray


def bucket_width(first_step: int, last_step: int, max_buckets: int) -> int:
    """The smallest power of two that covers first_step .. last_step with at most `max_buckets`."""
    width = 1
    while last_step // width - first_step // width + 1 > max_buckets:
        width *= 2
    return width


def bucket_starts(steps: StepArray, width: int) -> IntArray:
    """Positions at which a new bucket begins, for rising steps; empty for none."""
    if len(steps) == 0:
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.diff(steps // width, prepend=steps[0] // width - 1)).astype(np.int64)


def extremes(values: ValueArray, starts: IntArray) -> Extremes:
    """Reduces the last axis bucket by bucket. Inf counts as an extreme, NaN only where nothing else is.

    The mean is over the finite values; NaN where there is none, but a lone value is its own mean.
    """
    exact = values.astype(np.float64)
    finite = np.isfinite(exact)
    is_alone = np.diff(starts, append=exact.shape[-1]) == 1
    with np.errstate(invalid="ignore", over="ignore"):
        num_finite = np.add.reduceat(finite, starts, axis=-1, dtype=np.int64)
        total = np.add.reduceat(np.where(finite, exact, 0.0), starts, axis=-1)
        return Extremes(
            minimum=np.fmin.reduceat(exact, starts, axis=-1),
            maximum=np.fmax.reduceat(exact, starts, axis=-1),
            mean=np.where(
                is_alone,
                exact[..., starts],
                np.where(num_finite > 0, total / np.maximum(num_finite, 1), np.nan),
            ),
            num_finite=num_finite,
        )


def bucket_series(column: str, steps: StepArray, values: ValueArray, width: int) -> SeriesBuckets:
    """One column [k] over rising steps [k] in buckets of `width` steps."""
    if len(steps) == 0:
        return _no_buckets(column, width)
    starts = bucket_starts(steps, width)
    ends = np.append(starts[1:], len(steps)) - 1
    reduced = extremes(values, starts)
    count = ends - starts + 1
    return SeriesBuckets(
        column=column,
        bucket_width=width,
        first_step=steps[starts],
        last_step=steps[ends],
        count=count,
        nonfinite=count - reduced.num_finite,
        minimum=reduced.minimum,
        maximum=reduced.maximum,
        mean=reduced.mean,
        first=values[starts].astype(np.float64),
        last=values[ends].astype(np.float64),
    )


def _no_buckets(column: str, width: int) -> SeriesBuckets:
    whole, real = np.zeros(0, np.int64), np.zeros(0, np.float64)
    return SeriesBuckets(column, width, whole, whole, whole, whole, real, real, real, real, real)

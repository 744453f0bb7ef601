"""From the collector's JSON to numpy: numbers that are not finite come as strings, absent ones as null."""

from typing import Any

import numpy as np

from foreshock.wire.readings import (
    FloatArray,
    GroupSeries,
    IntArray,
    LayerMap,
    SeedSeries,
    SeriesBuckets,
)


def floats(told: Any) -> FloatArray:
    """Lists of numbers, nested or not, as float64; null is NaN."""
    return np.array(told, np.float64)


def integers(told: Any) -> IntArray:
    """A list of whole numbers as int64."""
    return np.array(told, np.int64)


def series_buckets(told: dict[str, Any], bucket_width: int) -> SeriesBuckets:
    """One entry of `/series`."""
    whole = {name: integers(told[name]) for name in ("first_step", "last_step", "count", "nonfinite")}
    return SeriesBuckets(
        column=told["column"],
        bucket_width=bucket_width,
        minimum=floats(told["min"]),
        maximum=floats(told["max"]),
        mean=floats(told["mean"]),
        first=floats(told["first"]),
        last=floats(told["last"]),
        **whole,
    )


def layer_map(told: dict[str, Any]) -> LayerMap:
    """The answer of `/map`."""
    return LayerMap(
        series=told["series"],
        bucket_width=told["bucket_width"],
        first_step=integers(told["first_step"]),
        minimum=floats(told["min"]),
        maximum=floats(told["max"]),
        mean=floats(told["mean"]),
        age=integers(told["age"]),
    )


def group_series(told: dict[str, Any]) -> GroupSeries:
    """One group of `/compare`."""
    about = {run["run_id"]: run for run in told["runs"]}
    seeds = tuple(
        SeedSeries(
            one["run_id"],
            about[one["run_id"]]["name"],
            about[one["run_id"]]["seed"],
            floats(one["values"]),
        )
        for one in told["seeds"]
    )
    return GroupSeries(
        key=told["key"],
        first_step=integers(told["first_step"]),
        mean=floats(told["mean"]),
        low=floats(told["low"]),
        high=floats(told["high"]),
        seeds=seeds,
    )

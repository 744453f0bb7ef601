"""Quantiles over the layers of a per-layer series, bucket by bucket."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np

from foreshock.server.store.read import StoredRun
from foreshock.wire.readings import Window

_FIELDS: Final = {"min": "minimum", "max": "maximum", "mean": "mean"}


def layer_quantiles(
    run: StoredRun,
    series: str,
    window: Window,
    quantiles: Sequence[float],
    of: Literal["min", "max", "mean"],
) -> dict[str, Any] | None:
    """Arrays [quantiles, k] over buckets [k], and how many layers told anything; None for no such series.

    A quantile is a value of some layer (the inverted distribution function), so infinities stay infinite.
    """
    names = run.layer_columns(series, run.attempt(window))
    if not names:
        return None
    width, tables = run.cells(names, window)
    edges = np.unique(np.concatenate([np.zeros(0, np.int64), *(table.cells.edge for table in tables)]))
    values = np.full((len(names), len(edges)), np.nan)
    told = np.zeros(values.shape, bool)
    row = 0
    for table in tables:
        rows = np.arange(row, row + len(table.columns))
        at = np.ix_(rows, np.searchsorted(edges, table.cells.edge))
        told[at] = table.cells.count > 0
        values[at] = np.where(told[at], getattr(table.cells, _FIELDS[of]), np.nan)
        row += len(table.columns)
    # NaN is sorted to the end, so that each column begins with its numbers
    ordered = np.sort(values, axis=0)
    num_known = np.count_nonzero(~np.isnan(values), axis=0)
    ranks = np.clip(np.ceil(np.outer(quantiles, num_known)).astype(np.int64) - 1, 0, None)
    found = np.where(num_known > 0, np.take_along_axis(ordered, ranks, axis=0), np.nan)
    shown = told.any(axis=0)
    return {
        "bucket_width": width,
        "first_step": edges[shown],
        "quantile": list(quantiles),
        "values": found[:, shown],
        "layers": told.sum(axis=0)[shown],
        "nan": (told & np.isnan(values)).sum(axis=0)[shown],
    }

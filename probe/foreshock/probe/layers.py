"""Deep models told briefly: of every layer series its quantiles, its worst layers, and now and then all.

A model of 100 layers has some 4,000 columns a reading; most of them say that a layer is as it was. So a
reading keeps the quantiles over layers, the worst few in their own columns (any maximum over layers stays
exact), and the first and last layer, which the canary and the whole composite stand in. The other layers are
missing, except in every tenth reading.

Legend: G series of as many layers, L layers.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foreshock.wire import LAYER_QUANTILES, MISSING, is_low_worse, is_missing, parse_column, quantile_series

# Up to here a summary would save little, and a map shows every layer of every step
MAX_WHOLE_LAYERS: Final = 32
NUM_WORST: Final = 4


class LayerSummary:
    """Brings the readings of one sheet to `columns`: those that it was given, then the quantiles."""

    def __init__(self, columns: Sequence[str]) -> None:
        places: dict[str, list[int]] = {}
        for place, name in enumerate(columns):
            column = parse_column(name)
            if column.signal is not None and column.layer is not None:
                places.setdefault(column.series, []).append(place)
        deep = {series: where for series, where in places.items() if len(where) > MAX_WHOLE_LAYERS}
        self.columns = (*columns, *(name for series in deep for name in quantile_series(series)))
        by_depth: dict[int, list[str]] = {}
        for series, where in deep.items():
            by_depth.setdefault(len(where), []).append(series)
        # Where each group's quantiles belong among those of all
        rank = {series: number for number, series in enumerate(deep)}
        self._groups = [
            (
                np.array([deep[series] for series in alike]),
                np.array([is_low_worse(series) for series in alike]),
                np.array([rank[series] for series in alike]),
            )
            for alike in by_depth.values()
        ]
        self._num_deep = len(deep)

    def of(self, values: NDArray[np.float32], is_whole: bool) -> NDArray[np.float32]:
        """A reading in the order of `columns`."""
        if not self._groups:
            return values
        values, quantiles = values.copy(), np.empty((self._num_deep, len(LAYER_QUANTILES)), np.float32)
        for places_GL, is_low_G, rank_G in self._groups:
            layers_GL = values[places_GL]
            ordered = _from_best(layers_GL, is_low_G)
            quantiles[rank_G] = _quantiles(layers_GL, ordered, is_low_G)
            if not is_whole:
                values[places_GL] = _only_worst(layers_GL, ordered)
        return np.concatenate((values, quantiles.ravel()))


def _from_best(layers_GL: NDArray[np.float32], is_low_G: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The layers of each series, best first, NaN last; those without a value before all."""
    badness_GL = np.where(is_low_G[:, None], -layers_GL, layers_GL)
    # Before any value comes what is missing, which is a NaN itself; behind any, infinity too, what is NaN
    rank_GL = np.where(is_missing(layers_GL), 0, np.where(np.isnan(layers_GL), 2, 1))
    return np.lexsort((badness_GL, rank_GL), axis=-1)


def _quantiles(
    layers_GL: NDArray[np.float32], ordered_GL: NDArray[np.intp], is_low_G: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Values of layers, not between them: of those that have one, at each share from the lowest up."""
    num_missing_G = is_missing(layers_GL).sum(-1)
    num_here_G = layers_GL.shape[1] - num_missing_G
    sorted_GL = np.take_along_axis(layers_GL, ordered_GL, -1)
    found = np.empty((len(layers_GL), len(LAYER_QUANTILES)), np.float32)
    for number, share in enumerate(LAYER_QUANTILES.values()):
        last_G = np.maximum(num_here_G - 1, 0)
        from_lowest_G = np.rint(share * last_G).astype(np.intp)
        place_G = num_missing_G + np.where(is_low_G, last_G - from_lowest_G, from_lowest_G)
        found[:, number] = sorted_GL[np.arange(len(sorted_GL)), np.minimum(place_G, layers_GL.shape[1] - 1)]
    found[num_here_G == 0] = MISSING
    return found


def _only_worst(layers_GL: NDArray[np.float32], ordered_GL: NDArray[np.intp]) -> NDArray[np.float32]:
    """The worst layers, the first and the last; all others missing."""
    kept_GL = np.zeros(layers_GL.shape, bool)
    np.put_along_axis(kept_GL, ordered_GL[:, -NUM_WORST:], True, -1)
    kept_GL[:, [0, -1]] = True
    # Bits, not values: a NaN that is copied by arithmetic may lose what tells it from others
    bits = np.where(kept_GL, layers_GL.view(np.uint32), MISSING.view(np.uint32))
    return bits.view(np.float32)

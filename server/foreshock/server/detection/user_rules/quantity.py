"""The number that a rule looks at: a signal, or the ratio of two, reduced over chosen layers."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from foreshock.server.detection.block import Block
from foreshock.server.detection.context import Columns, IndexArray
from foreshock.server.detection.sample import BoolArray, FloatArray, Sample
from foreshock.server.detection.user_rules.layers import Layers
from foreshock.wire import parse_column
from foreshock.wire.signal import Reduction

NOT_OF_A_LAYER: Final = -1
_WORD: Final = {"max": "the largest", "min": "the smallest"}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A signal, or one over another; `layers` is None where it has none.

    reduce: how the chosen layers become one number; values that are NaN are left out.
    """

    series: str
    over: str | None = None
    layers: Layers | None = None
    reduce: Reduction = "max"

    @property
    def said(self) -> str:
        """As a rules file says it, without layers."""
        return self.series if self.over is None else f"{self.series} / {self.over}"

    def values(self, sample: Sample) -> tuple[FloatArray, IndexArray]:
        """What the step has of it [k], and the layer of each; both empty where it was not measured."""
        values, layers = _read(sample, self.series, self.layers)
        if self.over is None or not len(values):
            return values, layers
        below, layers_below = _read(sample, self.over, self.layers)
        if not _is_plain(layers_below):
            both, here, there = np.intersect1d(layers, layers_below, return_indices=True)
            if _is_plain(layers):
                both, here, there = layers_below, np.zeros(len(below), np.intp), np.arange(len(below))
            values, below, layers = values[here], below[there], both
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return values / below, layers

    def numbers(self, block: Block, start: int, end: int) -> tuple[FloatArray, BoolArray]:
        """The reduced number of each step of some rows [k], and whether it was measured [k].

        What `reduced` says of the `values` of each of them.
        """
        values, present = self._matrix(block, slice(start, end))
        measured: BoolArray = np.logical_or.reduce(present, axis=1)
        values = np.where(present, values, np.nan)
        if values.shape[1] == 1:
            return values[:, 0] + 0.0, measured
        if self.reduce == "mean" or not values.shape[1]:
            rows = [
                self.reduced(row[here]) if here.any() else math.nan
                for row, here in zip(values, present, strict=True)
            ]
            return np.array(rows, np.float64), measured
        reduce = np.fmax if self.reduce == "max" else np.fmin
        return reduce.reduce(values, axis=1) + 0.0, measured

    def _matrix(self, block: Block, rows: slice) -> tuple[FloatArray, BoolArray]:
        """The values [k, layers] that some rows may have of it, and where they do."""
        places, layers = _places(block.columns, self.series, self.layers)
        values, present = block.values[rows][:, places], block.present[rows][:, places]
        if self.over is None:
            return values, present
        places_below, layers_below = _places(block.columns, self.over, self.layers)
        below, present_below = block.values[rows][:, places_below], block.present[rows][:, places_below]
        if not (_is_plain(layers) or _is_plain(layers_below)):
            _, here, there = np.intersect1d(layers, layers_below, return_indices=True)
            values, present = values[:, here], present[:, here]
            below, present_below = below[:, there], present_below[:, there]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return values / below, present & present_below

    def columns(self, columns: Columns) -> IndexArray:
        """Where the values of the signal itself stand among a run's columns."""
        return _places(columns, self.series, self.layers)[0]

    def reduced(self, values: FloatArray) -> float:
        """One number of values [k], NaN where all are."""
        if len(values) == 1:
            number = float(values[0])
        elif self.reduce == "mean":
            known = values[~np.isnan(values)]
            with np.errstate(invalid="ignore", over="ignore"):
                number = float(known.mean()) if len(known) else math.nan
        else:
            number = float((np.fmax if self.reduce == "max" else np.fmin).reduce(values))
        # Of 0 and -0 it depends on their order which is the larger
        return number + 0.0

    def layer(self, values: FloatArray, layers: IndexArray) -> int | None:
        """The layer that the reduced number is of, None for a mean and for a signal without layers."""
        if len(layers) == 1:
            return None if layers[0] == NOT_OF_A_LAYER else int(layers[0])
        if self.reduce == "mean" or np.isnan(values).all():
            return None
        at = np.nanargmax(values) if self.reduce == "max" else np.nanargmin(values)
        return int(layers[at])

    def named(self, values: FloatArray, layers: IndexArray) -> str:
        """The quantity in words, with the layer."""
        if self.layers is None or not len(layers):
            return self.said
        layer = self.layer(values, layers)
        if layer is None:
            return f"{self.said} (mean of {len(layers)} layers)"
        among = f", {_WORD[self.reduce]} of {len(layers)} layers," if len(layers) > 1 else ""
        return f"{self.said} of layer {layer}{among}"


def _is_plain(layers: IndexArray) -> bool:
    return len(layers) == 1 and bool(layers[0] == NOT_OF_A_LAYER)


def _read(sample: Sample, series: str, chosen: Layers | None) -> tuple[FloatArray, IndexArray]:
    places, layers = _places(sample.columns, series, chosen)
    here = sample.present[places]
    if here.all():
        return sample.values[places], layers
    return sample.values[places[here]], layers[here]


@lru_cache(maxsize=1024)
def _places(columns: Columns, series: str, chosen: Layers | None) -> tuple[IndexArray, IndexArray]:
    """Where a series stands among the columns, and which layer each place is."""
    scalar = columns.scalar(series)
    if scalar is not None:
        return np.array([scalar], np.intp), np.array([NOT_OF_A_LAYER], np.intp)
    places = columns.layers(series)
    layers = np.array([parse_column(columns.names[place]).layer or 0 for place in places], np.intp)
    if chosen is not None:
        taken = chosen.chosen(layers)
        places, layers = places[taken], layers[taken]
    return places, layers

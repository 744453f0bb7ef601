"""A run as a thumbnail: which layers leave 1, and since when, in a few hundred characters.

It is no plotly figure: a list draws many of them, so each is text, one character a cell.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from foreshock.dashboards.figures.numbers import gain, words
from foreshock.wire.readings import BoolArray, FloatArray, LayerMap, RunReader, SeriesBuckets, Window

NUM_COLUMNS: Final = 48
MAX_ROWS: Final = 12
# Heights are whole numbers from 0 to 8, as the page's colours scale-0 to scale-8 are; 4 is a gain of 1
MIDDLE: Final = 4
NOT_FINITE: Final = "x"
NOT_TOLD: Final = "."
# A gain of 10, the documents' exit, has the darkest colour in every run, so that runs can be compared
REACH: Final = 10.0
SERIES: Final = ("layer_amax_forward_mean", "layer_amax_backward_mean")

Kind = Literal["layers", "loss", "none"]


@dataclass(frozen=True, slots=True)
class Spark:
    """A thumbnail of the whole run: `rows` of equally long text, one character for up to 1/48 of its steps.

    `kind` "layers": a row for each layer, or for neighbours that share it, layer 0 first; a cell is the gain
    farthest from 1, by logarithm: "4" is 1, "8" is 10 or more, "0" is 0.1 or less. "loss", of runs that
    measure no layer: one row, from the lowest mean "0" to the highest "8". "x" is not finite, "." was not
    told. `told` says the same in words.
    """

    kind: Kind
    rows: tuple[str, ...]
    told: str


def spark(reader: RunReader) -> Spark:
    """The thumbnail of a run's newest attempt: per-layer gains, both directions; else its loss."""
    window = Window(buckets=NUM_COLUMNS)
    maps = [found for name in SERIES if (found := reader.layer_map(name, window)) and found.mean.size]
    if maps:
        return _of_layers(maps)
    losses = reader.series(("loss",), window)
    if losses and len(losses[0].mean):
        return _of_loss(losses[0])
    return Spark("none", (), "nothing measured yet")


def _of_layers(maps: list[LayerMap]) -> Spark:
    """Of both directions, which may come at other steps, and of neighbours in a row, the worst counts."""
    width = max(one.bucket_width for one in maps)
    edges = np.unique(np.concatenate([one.first_step // width for one in maps]))
    logs = np.full((max(len(one.mean) for one in maps), len(edges)), np.nan)
    broken = np.zeros(logs.shape, bool)
    for one in maps:
        places = np.searchsorted(edges, one.first_step // width)
        layers = slice(len(one.mean))
        for column, place in enumerate(places.tolist()):
            extremes = np.stack([one.minimum[:, column], one.maximum[:, column]])
            is_told = one.age[:, column] >= 0
            broken[layers, place] |= is_told & ~np.isfinite(extremes).all(axis=0)
            with np.errstate(all="ignore"):
                heights = np.log10(np.maximum(extremes, 1e-30))
            logs[layers, place] = _gravest(np.vstack([logs[layers, place], heights]))
    groups = np.array_split(np.arange(len(logs)), min(MAX_ROWS, len(logs)))
    rows = tuple(_gain_row(_gravest(logs[group]), np.logical_or.reduce(broken[group])) for group in groups)
    return Spark("layers", rows, f"gain of layers over steps; {_worst_now(logs[:, -1], broken[:, -1])}")


def _gravest(heights: FloatArray) -> FloatArray:
    """Of each column of [rows, k] the finite height farthest from 0, NaN where there is none."""
    far = np.where(np.isfinite(heights), np.abs(heights), -1.0)
    worst = np.take_along_axis(heights, far.argmax(axis=0)[None], axis=0)[0]
    return np.where(far.max(axis=0) >= 0, worst, np.nan)


def _worst_now(heights: FloatArray, broken: BoolArray) -> str:
    if broken.any():
        return "not finite now"
    if not np.isfinite(heights).any():
        return "no layer told now"
    worst = int(np.nanargmax(np.abs(heights)))
    return f"now layer {worst} is farthest from 1, at {gain(float(10 ** heights[worst]))}"


def _gain_row(heights: FloatArray, broken: BoolArray) -> str:
    whole = np.clip(np.round(MIDDLE + MIDDLE * heights / np.log10(REACH)), 0, 2 * MIDDLE)
    return _text(whole, broken)


def _of_loss(loss: SeriesBuckets) -> Spark:
    mean = np.where(np.isfinite(loss.mean), loss.mean, np.nan)
    known = mean[np.isfinite(mean)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    heights = np.round(2 * MIDDLE * (mean - low) / ((high - low) or 1.0))
    row = _text(heights, loss.nonfinite > 0)
    return Spark("loss", (row,), f"loss over steps; now {words(float(loss.last[-1]))}")


def _text(heights: FloatArray, broken: BoolArray) -> str:
    return "".join(
        NOT_FINITE if is_broken else NOT_TOLD if np.isnan(height) else f"{height:.0f}"
        for height, is_broken in zip(heights.tolist(), broken.tolist(), strict=True)
    )

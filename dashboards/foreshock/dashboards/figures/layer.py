"""One layer among all: every signal of it over steps, against the median and the range of all layers."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import numpy as np

from foreshock.dashboards.figures.broken import kinds_of_values
from foreshock.dashboards.figures.colour_scale import extreme, scale_of
from foreshock.dashboards.figures.frame import Drawing, Figure, bounded
from foreshock.dashboards.figures.numbers import steps
from foreshock.dashboards.figures.panels import Drawn, draw_panels
from foreshock.dashboards.figures.track import Track, worst_track
from foreshock.wire import CATALOGUE, Signal, parse_column
from foreshock.wire.readings import RunReader, Window

# By what a signal's name begins with; the first that fits
_SETS: Final[Mapping[str, tuple[str, ...]]] = {
    "composite": ("composite_amax", "composite_norm", "log_gain_per_layer"),
    "constraint": (
        "layer_row",
        "layer_column",
        "layer_negativity",
        "logit_range",
        "composite_",
        "identity",
        "log_sum",
        "negative_sums",
        "pre_",
        "post_",
    ),
    "gains": ("layer_",),
    "stream": ("stream_", "norm_", "swiglu_", "max_attention"),
    "router": ("router_",),
}
_TITLES: Final[Mapping[str, str]] = {
    "gains": "gains of its mapping",
    "composite": "composite gains",
    "constraint": "mixing and constraint",
    "stream": "stream and activations",
    "router": "router",
}
_REDUCTIONS: Final = ("min", "max", "mean")

LayerFigure = Callable[[RunReader, Window, int], Figure]


def signals_of(name: str) -> list[Signal]:
    """The per-layer signals that the set `name` shows, in the catalogue's order."""
    return [one for one in CATALOGUE.values() if one.per_layer and _set_of(one.name) == name]


def _set_of(signal: str) -> str | None:
    found = (name for name, begins in _SETS.items() if signal.startswith(begins))
    return next(found, None)


def layer_figure(name: str, reader: RunReader, window: Window, layer: int) -> Figure:
    """The signals of one set at one layer, a panel each: its line, the median layer, the range of all."""
    title = f"Layer {layer}: {_TITLES[name]}"
    drawing = Drawing(title, f"Layer {layer} has told nothing of this yet.")
    panels = []
    for signal in signals_of(name):
        track = _track(reader, window, _worst_series(signal), layer)
        if track is not None:
            panels.append(Drawn(track.unit, [track]))
    return draw_panels(reader, window, drawing, panels, are_named=True)


def _worst_series(signal: Signal) -> str:
    """Of several reductions over tokens the one that shows the worst."""
    return min(signal.series, key=lambda series: _REDUCTIONS.index(parse_column(series).reduction or "mean"))


def _track(reader: RunReader, window: Window, series: str, layer: int) -> Track | None:
    found = reader.layer_map(series, bounded(window))
    if found is None or not 0 <= layer < len(found.maximum) or not (found.age[layer] >= 0).any():
        return None
    of_all = worst_track(found, series.replace("_", " "))
    values = extreme(found, scale_of(of_all.column))[layer]
    is_known = found.age[layer] >= 0
    kinds = [kind if known else "" for kind, known in zip(kinds_of_values(values), is_known, strict=True)]
    return Track(
        of_all.name,
        of_all.column,
        steps(found.first_step),
        np.asarray(values),
        of_all.low,
        of_all.high,
        kinds,
        middle=of_all.middle,
    )


LAYER_FIGURES: Final[Mapping[str, LayerFigure]] = {name: partial(layer_figure, name) for name in _TITLES}


def layer_figures_of(reader: RunReader, layer: int) -> list[dict[str, str]]:
    """The sets that a run has something of at a layer, with their titles."""
    told = frozenset(column.partition("[")[0] for column in reader.columns() if column.endswith(f"[{layer}]"))
    return [
        {"name": name, "title": _TITLES[name]}
        for name in LAYER_FIGURES
        if any(_worst_series(signal) in told for signal in signals_of(name))
    ]

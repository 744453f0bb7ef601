"""Gains of the mixing matrices, one layer's and their products."""

from collections.abc import Mapping
from typing import Final

from foreshock.dashboards.figures.canary import canary
from foreshock.dashboards.figures.composite import composite
from foreshock.dashboards.figures.composite_depth import composite_depth
from foreshock.dashboards.figures.gain_map import gain_map
from foreshock.dashboards.figures.gain_phase import SERIES, gain_phase
from foreshock.dashboards.figures.layer_gain import PANELS as LAYER_GAIN
from foreshock.dashboards.figures.layer_gain import layer_gain
from foreshock.dashboards.figures.panels import series_of
from foreshock.dashboards.figures.run_figure import RunFigure
from foreshock.wire import CATALOGUE

_PER_LAYER: Final = tuple(
    series for signal in CATALOGUE.values() if signal.per_layer for series in signal.series
)
_COMPOSITES: Final = tuple(
    f"composite_amax_{way}_{reduction}" for way in ("forward", "backward") for reduction in ("mean", "max")
)

FIGURES: Final[Mapping[str, RunFigure]] = {
    "gain_map": RunFigure(
        gain_map,
        "Layer by step",
        "gains",
        "One series of every layer; what is farthest from health is darkest.",
        _PER_LAYER,
        overview=True,
        is_of_lines=False,
    ),
    "composite_depth": RunFigure(
        composite_depth,
        "Composite gain over depth",
        "gains",
        "Where along the network signal and gradient swell, now and at four earlier steps.",
        _COMPOSITES,
        over="layers",
        overview=True,
    ),
    "composite": RunFigure(
        composite,
        "Composite gain over steps",
        "gains",
        "The worst layer's composite gain, which the exit rule watches.",
        _COMPOSITES,
        overview=True,
    ),
    "layer_gain": RunFigure(
        layer_gain,
        "Single-layer gain over steps",
        "gains",
        "The layer farthest from 1: each may be near 1 and their product not.",
        series_of(LAYER_GAIN),
    ),
    "canary": RunFigure(
        canary,
        "Layer-0 canary",
        "gains",
        "Layer 0 leaves its band before the others: its gain beside the median and the worst layer.",
        ("layer_amax_forward_mean", "canary_embedding_rms"),
        overview=True,
    ),
    "gain_phase": RunFigure(
        gain_phase,
        "Gain against loss",
        "gains",
        "Up is a growing gain, left a falling loss; up and left is the time bomb.",
        SERIES,
        over="gain",
        is_of_lines=False,
    ),
}

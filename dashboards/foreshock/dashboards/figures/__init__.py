"""Every figure of foreshock, defined once, as plain plotly dictionaries.

A figure reads from a RunReader (or from groups of runs) and names its colours by role; the pages and
`resolve` give the roles their colours. Nothing here needs plotly itself.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from foreshock.dashboards.figures.difference import difference
from foreshock.dashboards.figures.families import RUN_FIGURES, figures_of
from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.knots import Axis, axes_of
from foreshock.dashboards.figures.layer import LAYER_FIGURES, layer_figures_of
from foreshock.dashboards.figures.palette import Theme, colours, resolve
from foreshock.dashboards.figures.run_figure import FAMILIES, Family, RunFigure
from foreshock.dashboards.figures.seeds import seeds
from foreshock.dashboards.figures.timelines import timelines

COMPARE_FIGURES: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {
    "seeds": seeds,
    "difference": difference,
    "timelines": timelines,
}

__all__ = [
    "COMPARE_FIGURES",
    "FAMILIES",
    "LAYER_FIGURES",
    "RUN_FIGURES",
    "Axis",
    "Family",
    "Figure",
    "RunFigure",
    "Theme",
    "axes_of",
    "colours",
    "figures_of",
    "layer_figures_of",
    "resolve",
]

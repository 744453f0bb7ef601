"""Every figure of foreshock, defined once, as plain plotly dictionaries.

A figure reads from a RunReader (or from groups of runs) and names its colours by role; the pages and
`resolve` give the roles their colours. Nothing here needs plotly itself.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from foreshock.dashboards.figures.canary import canary
from foreshock.dashboards.figures.clip import clip
from foreshock.dashboards.figures.composite import composite
from foreshock.dashboards.figures.composite_depth import composite_depth
from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.gain_map import gain_map
from foreshock.dashboards.figures.headroom import headroom
from foreshock.dashboards.figures.loss import loss
from foreshock.dashboards.figures.palette import Theme, colours, resolve
from foreshock.dashboards.figures.schedule import schedule
from foreshock.dashboards.figures.seeds import seeds
from foreshock.dashboards.figures.stream import stream
from foreshock.dashboards.figures.timelines import timelines
from foreshock.wire.readings import RunReader, Window

RunFigure = Callable[[RunReader, Window], Figure]

RUN_FIGURES: Final[Mapping[str, RunFigure]] = {
    "loss": loss,
    "gain_map": gain_map,
    "composite_depth": composite_depth,
    "composite": composite,
    "canary": canary,
    "clip": clip,
    "headroom": headroom,
    "stream": stream,
    "schedule": schedule,
}

COMPARE_FIGURES: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {"seeds": seeds, "timelines": timelines}

__all__ = ["COMPARE_FIGURES", "RUN_FIGURES", "Figure", "RunFigure", "Theme", "colours", "resolve"]

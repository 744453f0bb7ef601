"""Routing of a mixture of experts."""

from collections.abc import Mapping
from typing import Final

from foreshock.dashboards.figures.panels import series_of
from foreshock.dashboards.figures.router_load import PANELS as ROUTER_LOAD
from foreshock.dashboards.figures.router_load import router_load
from foreshock.dashboards.figures.router_margin import PANELS as ROUTER_MARGIN
from foreshock.dashboards.figures.router_margin import router_margin
from foreshock.dashboards.figures.router_staleness import PANELS as ROUTER_STALENESS
from foreshock.dashboards.figures.router_staleness import router_staleness
from foreshock.dashboards.figures.run_figure import RunFigure
from foreshock.dashboards.figures.tear import PANELS as TEAR
from foreshock.dashboards.figures.tear import tear

FIGURES: Final[Mapping[str, RunFigure]] = {
    "router_load": RunFigure(
        router_load,
        "Router load",
        "router",
        "How evenly tokens are spread over experts.",
        series_of(ROUTER_LOAD),
    ),
    "router_staleness": RunFigure(
        router_staleness,
        "Router staleness",
        "router",
        "How many choices the router of the last reading would make otherwise.",
        series_of(ROUTER_STALENESS),
    ),
    "router_margin": RunFigure(
        router_margin,
        "Router margin",
        "router",
        "How surely tokens are routed.",
        series_of(ROUTER_MARGIN),
    ),
    "tear": RunFigure(
        tear,
        "Tear",
        "router",
        "Where near tokens are torn apart by their experts, or by their domain.",
        series_of(TEAR),
    ),
}

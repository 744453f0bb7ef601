"""How surely tokens are routed: margins, and routers' rows that grow alike."""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel("margin", {"router_margin_p01": "margin, first percentile"}),
    Panel("cosine", {"router_similarity": "similarity of experts' weights"}),
)


def router_margin(reader: RunReader, window: Window) -> Figure:
    """The first percentile of the margin to the next expert, and how alike experts' weights are."""
    return panelled(reader, window, "Router margin", "No margin of the router has been measured yet.", PANELS)

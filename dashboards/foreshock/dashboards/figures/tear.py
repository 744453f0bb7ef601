"""Where near tokens are torn apart: by their experts, and by the domain they come from."""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel("log J", {"router_tear": "tear"}),
    Panel("divergence", {"router_domain_distance": "distance of the domains' routing"}),
)


def tear(reader: RunReader, window: Window) -> Figure:
    """How much farther near tokens come out where experts differ, and how apart domains are routed."""
    return panelled(reader, window, "Tear", "No tear has been measured yet.", PANELS)

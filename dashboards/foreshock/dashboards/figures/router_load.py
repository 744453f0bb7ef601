"""How evenly tokens are spread over experts."""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel("violation", {"router_max_violation": "max violation"}),
    Panel("entropy", {"router_entropy": "entropy of loads"}),
    Panel("dead", {"router_dead_experts": "share of dead experts"}),
)


def router_load(reader: RunReader, window: Window) -> Figure:
    """The busiest expert's load above the mean, the entropy of loads, and experts without a token."""
    return panelled(reader, window, "Router load", "No router has been measured yet.", PANELS)

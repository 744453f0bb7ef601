"""How far the router has moved since its last reading: choices that would now be others."""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel("stale share", {"router_staleness": "stale", "router_staleness_applied": "stale in force"}),
    Panel(
        "by margin",
        {
            "router_staleness_weighted": "weighted",
            "router_staleness_fixed_weighted": "fixed, weighted",
        },
    ),
    Panel(
        "fixed batch",
        {
            "router_staleness_fixed": "fixed",
            "router_counterfactual": "output changed",
        },
    ),
)


def router_staleness(reader: RunReader, window: Window) -> Figure:
    """Share of stale choices: on the current batch, by margin, and on a batch that stays the same."""
    return panelled(
        reader, window, "Router staleness", "No staleness of the router has been measured yet.", PANELS
    )

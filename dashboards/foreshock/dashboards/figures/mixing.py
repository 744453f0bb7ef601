"""Do the streams still mix, and are they still several? Amax can see neither."""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel("||H - I||", {"identity_distance_mean": "identity distance"}),
    Panel(
        "collapse",
        {
            "log_stream_collapse_mean": "collapse, mean",
            "log_stream_collapse_max": "collapse, max",
        },
    ),
)


def mixing(reader: RunReader, window: Window) -> Figure:
    """Distance from the identity, near 0 in all layers where none mixes; what is left of differences."""
    return panelled(
        reader,
        window,
        "Stream collapse and identity distance",
        "No identity distance has been measured yet.",
        PANELS,
    )

"""Where the signal is lost: sums near 0, streams that cancel."""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel("smallest sum", {"composite_smallest_sum_min": "composite's smallest sum"}),
    Panel("share left", {"pre_cancellation_min": "read", "post_cancellation_min": "written"}),
    Panel("log deviation", {"log_sum_deviation_max": "log deviation of sums"}),
    Panel("sums below 0", {"negative_sums_max": "sums below 0"}),
)


def vanishing(reader: RunReader, window: Window) -> Figure:
    """Smallest sum of the composite, what cancellation leaves, and sums that changed their sign."""
    return panelled(
        reader,
        window,
        "Vanishing and cancellation",
        "No sums of the mixing matrices have been measured yet.",
        PANELS,
    )

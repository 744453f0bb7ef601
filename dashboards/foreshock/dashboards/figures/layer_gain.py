"""The worst single layer's gain over steps: one layer need not be large for the product to be."""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel(
        "mean gain",
        {
            "layer_amax_forward_mean": "forward, mean",
            "layer_amax_backward_mean": "backward, mean",
        },
    ),
    Panel(
        "max gain",
        {
            "layer_amax_forward_max": "forward, max",
            "layer_amax_backward_max": "backward, max",
        },
    ),
)


def layer_gain(reader: RunReader, window: Window) -> Figure:
    """Amax gain of the layer farthest from 1, both ways, mean and worst token, beside the healthy band."""
    return panelled(
        reader, window, "Single-layer gain over steps", "No layer gain has been measured yet.", PANELS
    )

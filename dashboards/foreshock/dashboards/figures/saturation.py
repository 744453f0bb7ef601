"""Saturation of activations: how much of a SwiGLU stands at its clamp, and the room before it."""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel("at the clamp", {"swiglu_saturation": "share at the clamp"}),
    Panel("room", {"swiglu_headroom": "room before the clamp"}),
)


def saturation(reader: RunReader, window: Window) -> Figure:
    """Share of a SwiGLU's inputs at its clamp, and the logarithm of the room that is left before it."""
    return panelled(reader, window, "SwiGLU saturation", "No SwiGLU has been measured yet.", PANELS)

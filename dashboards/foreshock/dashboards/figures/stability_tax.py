"""The stability tax: ever stronger clipping and normalisation, and what the loss gets for it."""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel("clipping", {"clipped_share": "steps clipped", "clip_coefficient": "gradient left"}),
    Panel("norm input", {"norm_input_rms": "RMS of a norm's input"}),
    Panel("loss", {"loss": "loss"}),
)


def stability_tax(reader: RunReader, window: Window) -> Figure:
    """Share of clipped steps and of the gradient that is left, what normalisation undoes, above the loss."""
    return panelled(
        reader, window, "Stability tax", "Neither clipping nor normalisation has been measured yet.", PANELS
    )

"""What normalisation has to undo."""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel("input RMS", {"norm_input_rms": "RMS of a norm's input"}),
    Panel("weight RMS", {"norm_weight_rms": "RMS of a norm's weights"}),
    Panel("first token", {"stream_first_max": "largest value of first tokens"}),
)


def normalisation(reader: RunReader, window: Window) -> Figure:
    """RMS of what normalisations are given and of their weights, and the massive values of first tokens."""
    return panelled(reader, window, "Normalisation", "No normalisation has been measured yet.", PANELS)

"""What the optimizer makes of the gradient."""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel("RMS", {"update_rms": "update", "update_ratio": "update over parameters"}),
    Panel("Adam RMS", {"adam_rms": "Adam RMS"}),
    Panel("trust ratio", {"trust_ratio": "trust ratio"}),
    Panel("cosine", {"update_cosine": "cosine with descent"}),
    Panel("Muon", {"muon_orthogonality_max": "Muon's distance from orthogonal"}),
)


def update(reader: RunReader, window: Window) -> Figure:
    """RMS of updates, Adam RMS, trust ratio, cosine with descent, and Muon's distance from orthogonal."""
    return panelled(reader, window, "Updates", "No update has been measured yet.", PANELS)

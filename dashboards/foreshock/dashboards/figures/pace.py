"""How long steps take, and the probe's part of it."""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel("s / step", {"step_seconds": "step"}),
    Panel("s, probe", {"probe_seconds": "probe's part"}),
    Panel("skipped", {"step_skipped": "steps skipped"}),
)


def pace(reader: RunReader, window: Window) -> Figure:
    """Wall time of a step, the part of it that the probe takes, and steps that the optimizer skipped."""
    return panelled(reader, window, "Pace", "No step has been timed yet.", PANELS)

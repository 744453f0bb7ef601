"""The audit of the constraint: is every mixing matrix still doubly stochastic?"""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel("layer's error", {"layer_row_error_max": "row sums", "layer_column_error_max": "column sums"}),
    Panel(
        "composite's",
        {
            "composite_row_error_max": "of the composite, rows",
            "composite_column_error_max": "of the composite, columns",
        },
    ),
    Panel("negativity", {"layer_negativity_max": "negativity"}),
    Panel("logit range", {"logit_range_max": "logit range"}),
)


def audit(reader: RunReader, window: Window) -> Figure:
    """Row and column sums' distance from 1, which Sinkhorn leaves on its inexact axis; entries below 0."""
    return panelled(
        reader, window, "Doubly-stochastic audit", "No mixing matrix has been measured yet.", PANELS
    )

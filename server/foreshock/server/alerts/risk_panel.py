"""The panel of what the forecast said around a step: a line for each horizon."""

from typing import Final

import numpy as np

from foreshock.server.alerts.panel import Panel
from foreshock.wire.readings import RiskBuckets

TITLE: Final = "risk of a spike or divergence within"
# A scale that shows 0 and a tenth at least: what is next to nothing must look so
_SHOWN: Final = (0.0, 0.1)


def risk_panel(found: RiskBuckets) -> Panel | None:
    """The panel, None where nothing was forecast."""
    if not len(found.first_step):
        return None
    nothing = np.full(len(found.first_step), np.nan)
    return Panel(
        TITLE,
        "",
        None,
        found.first_step,
        nothing,
        nothing,
        nothing,
        np.zeros(0, np.int64),
        lines=tuple(found.risk.items()),
        shown=_SHOWN,
    )


def risk_at(found: RiskBuckets, step: int) -> dict[str, float]:
    """The last that was forecast up to a step, by horizon; empty where nothing was."""
    place = int(np.searchsorted(found.first_step, step, "right")) - 1
    return {} if place < 0 else {name: float(values[place]) for name, values in found.risk.items()}

"""The risk that was foretold, by horizon: the lower panel of the loss."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from foreshock.dashboards.figures.frame import Trace
from foreshock.dashboards.figures.line import Style, line, lone_points
from foreshock.dashboards.figures.numbers import plain, steps
from foreshock.wire.readings import FloatArray, RiskBuckets, RunReader, Window

# The farther, the fainter
_STYLES: Final[Mapping[str, Style]] = {
    "20": Style("series-2", "solid", 2),
    "100": Style("series-4", "solid", 1.75),
    "5%": Style("series-5", "dash", 1.5),
    "10%": Style("series-6", "dot", 1.5),
}
_WORDS: Final[Mapping[str, str]] = {
    "20": "within 20 steps",
    "100": "within 100 steps",
    "5%": "within 5 % of the run",
    "10%": "within 10 % of the run",
}


def risk_of(reader: RunReader, window: Window) -> RiskBuckets | None:
    """The run's risk; None where nothing was foretold."""
    found = reader.risk(window)
    return found if len(found.first_step) else None


def risk_lines(found: RiskBuckets, yaxis: str) -> list[Trace]:
    """A line for each horizon, as percentages."""
    return [
        lone_points(
            line(steps(found.first_step), 100 * found.risk[horizon], words, _STYLES[horizon], yaxis=yaxis)
            | {"hovertemplate": "%{y:.1f} %"}
        )
        for horizon, words in _WORDS.items()
        if horizon in found.risk
    ]


def risk_told(found: RiskBuckets) -> str:
    """The newest risk of each horizon, in words."""
    parts = [
        f"{100 * value:.0f} % {_WORDS.get(horizon, plain(horizon))}"
        for horizon, values in found.risk.items()
        if (value := _newest(values)) is not None
    ]
    return f" Risk: {', '.join(parts)}." if parts else ""


def _newest(values: FloatArray) -> float | None:
    there: Sequence[int] = np.flatnonzero(np.isfinite(values)).tolist()
    return float(values[there[-1]]) if there else None

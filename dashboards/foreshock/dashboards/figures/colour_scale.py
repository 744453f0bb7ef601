"""How a signal's values become colours, and which of two values lies farther from health.

All of it comes from the catalogue: the scale, the healthy band, and which way is worse.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from foreshock.dashboards.figures.palette import DIVERGING, SEQUENTIAL
from foreshock.wire import Column
from foreshock.wire.readings import FloatArray, LayerMap

# The colour range only takes these widths, so it stands still while a run grows
_RUNGS: Final = np.asarray([0.01, 0.1, 0.5, 1, 2, 5, 10, 50, 100, 1e3, 1e6])
_LOG_RUNGS: Final = np.log10([2.0, 5.0, 10.0, 100.0, 1e3, 1e4, 1e6, 1e9, 1e15, 1e30])
_LEAST: Final = 1e-30


@dataclass(frozen=True, slots=True)
class Scale:
    """How values become colours: by logarithm or not, with health in the middle or at one end.

    `low_is_worse` says that it lies at the upper end, as with an entropy or with room that is left.
    `edge` is where health ends, on the scale's own axis, where that is known.
    """

    log: bool
    centred: bool
    low_is_worse: bool = False
    edge: float | None = None

    @property
    def colours(self) -> list[tuple[float, str]]:
        """Plotly's colour scale; what is worst is darkest."""
        if self.centred:
            return DIVERGING
        if self.low_is_worse:
            return [(1.0 - place, colour) for place, colour in reversed(SEQUENTIAL)]
        return SEQUENTIAL

    def height(self, values: FloatArray) -> FloatArray:
        """The values on the scale's own axis."""
        if not self.log:
            return values
        with np.errstate(all="ignore"):
            return np.log10(np.maximum(values, _LEAST))

    def span(self, values: FloatArray) -> tuple[float, float]:
        """The heights between which colours change; what lies outside takes the colour of the end."""
        seen = values[np.isfinite(values) & ((values > 0) | (not self.log))]
        heights = self.height(seen) if seen.size else np.zeros(1)
        low, high = float(heights.min()), float(heights.max())
        if self.centred:
            reach = _rung(max(abs(low), abs(high)), _LOG_RUNGS if self.log else _RUNGS)
            return -reach, reach
        if self.log:
            return self._decades(low, high)
        top = _rung(max(high, 0.0), _RUNGS)
        return (-_rung(-low, _RUNGS) if low < 0 else 0.0), top

    def _decades(self, low: float, high: float) -> tuple[float, float]:
        """Whole decades; where health ends at an edge, what is far on its healthy side is equally pale."""
        if self.edge is not None and self.low_is_worse:
            return min(float(np.floor(low)), float(self.edge) - 1), max(0.0, float(np.ceil(high - 1e-9)))
        if self.edge is not None:
            bottom = float(np.floor(self.edge)) - 2
            return bottom, max(bottom + 3, float(np.ceil(high - 1e-9)))
        bottom = float(np.floor(low + 1e-9))
        return bottom, max(bottom + 1, float(np.ceil(high - 1e-9)))

    def distance(self, values: FloatArray) -> FloatArray:
        """How far values are from health: comparable among themselves only."""
        heights = self.height(values)
        if self.centred:
            return np.abs(heights)
        return -heights if self.low_is_worse else heights


def _rung(reach: float, rungs: FloatArray) -> float:
    return float(rungs[min(int(np.searchsorted(rungs, reach - 1e-9)), len(rungs) - 1)])


def scale_of(column: Column) -> Scale:
    """The scale that suits a series: centred where the healthy band lies about one, or about zero."""
    signal = column.signal
    if signal is None:
        return Scale(log=False, centred=False)
    band = signal.healthy
    if signal.low_is_worse:
        edge = np.log10(band.low) if signal.log_scale and band is not None and band.low > 0 else None
        return Scale(signal.log_scale, centred=False, low_is_worse=True, edge=edge)
    if band is None:
        return Scale(log=signal.log_scale, centred=False)
    if signal.log_scale and band.low > 0:
        return Scale(log=True, centred=True)
    if signal.log_scale:
        return Scale(log=True, centred=False, edge=float(np.log10(band.high)) if band.high > 0 else None)
    return Scale(log=False, centred=band.low < 0 < band.high and band.has_top)


def extreme(values: LayerMap, scale: Scale) -> FloatArray:
    """Of each bucket the value farthest from health, so that no spike is averaged away."""
    if not scale.centred:
        return values.minimum if scale.low_is_worse else values.maximum
    low, high = np.abs(scale.height(values.minimum)), np.abs(scale.height(values.maximum))
    return np.where(low > high, values.minimum, values.maximum)

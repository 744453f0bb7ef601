"""How a viewer wants a figure: linear or log, over steps, time or tokens, smoothed or as it is.

A figure is drawn over steps as its signals ask for; the view is laid over the finished dictionary, so that
every figure knows every option and none has to know them.
"""

from dataclasses import dataclass

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.knots import Axis, relaid
from foreshock.dashboards.figures.rescaling import rescaled
from foreshock.dashboards.figures.smoothing import smoothed
from foreshock.wire.readings import RunReader, Window


@dataclass(frozen=True, slots=True)
class View:
    """What a viewer may choose for any figure.

    `log_y` None leaves each signal on its own scale; `smooth` is the half-life, in buckets, of the moving
    average drawn over the raw lines, 0 for none.
    """

    axis: Axis = "step"
    log_y: bool | None = None
    smooth: float = 0.0

    def over(self, figure: Figure, reader: RunReader, window: Window) -> Figure:
        """The figure as it is wanted; the one given is not changed."""
        if self.log_y is not None:
            figure = rescaled(figure, log=self.log_y)
        if self.smooth > 0:
            figure = smoothed(figure, self.smooth)
        return figure if self.axis == "step" else relaid(figure, reader, window, self.axis)

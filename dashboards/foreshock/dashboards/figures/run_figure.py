"""One entry of the registry: a figure of a run, the family it belongs to, and what a run must tell for it."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.view import View
from foreshock.wire.readings import RunReader, Window

Family = Literal["loss", "gains", "constraint", "stream", "router", "optimizer", "system"]
Over = Literal["steps", "layers", "gain"]

VIEW: Final = frozenset({"axis", "log_y", "smooth"})

# In the order of the tabs
FAMILIES: Final[dict[Family, str]] = {
    "loss": "Loss and data",
    "gains": "Gains",
    "constraint": "Mixing and constraint",
    "stream": "Stream and activations",
    "router": "Router",
    "optimizer": "Optimizer",
    "system": "Pace and machine",
}


@dataclass(frozen=True, slots=True)
class RunFigure:
    """A figure of one run; called with a reader, a window and options it gives a plotly dictionary.

    `needs` are series of which one suffices, a name that ends in "/" standing for all that begin so;
    `over` is what lies along the bottom: only figures over steps zoom together; `overview` says that the
    figure is among the first that people see, `is_of_lines` that its values can be smoothed and rescaled.
    """

    draw: Callable[..., Figure]
    title: str
    family: Family
    help: str
    needs: tuple[str, ...]
    over: Over = "steps"
    overview: bool = False
    is_of_lines: bool = True

    def __call__(self, reader: RunReader, window: Window, **options: Any) -> Figure:
        """The drawn figure. `axis`, `log_y` and `smooth` are a View's, the rest is the figure's own."""
        view = View(**{name: options.pop(name) for name in VIEW & options.keys()})
        return view.over(self.draw(reader, window, **options), reader, window)

    @property
    def options(self) -> tuple[str, ...]:
        """The names of what it can be told besides the window."""
        own = tuple(inspect.signature(self.draw).parameters)[2:]
        lines = ("log_y",) if self.is_of_lines else ()
        average = ("smooth",) if self.is_of_lines and self.over == "steps" else ()
        return own + lines + average + (("axis",) if self.over == "steps" else ())

    def is_told(self, series: Iterable[str]) -> bool:
        """Whether a run with these series has anything to show in this figure."""
        begins = tuple(need for need in self.needs if need.endswith("/"))
        return any(one in self.needs or (begins and one.startswith(begins)) for one in series)

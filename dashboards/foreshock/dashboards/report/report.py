"""What a report holds; in a notebook it shows itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foreshock.dashboards.errors import UnknownFigureError
from foreshock.dashboards.figures import Figure, Theme
from foreshock.dashboards.names import printable

if TYPE_CHECKING:
    import plotly.graph_objects as go

Told = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run: the collector's description, its health, its alerts, its figures by name."""

    facts: Told
    health: Told
    alerts: Sequence[Told]
    figures: Mapping[str, Figure]

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self.facts["run_id"])

    @property
    def name(self) -> str:
        """The name that people know it by, fit for a screen."""
        return printable(self.facts["name"] or self.run_id)

    @property
    def drawn(self) -> dict[str, Figure]:
        """The figures that show anything."""
        return {name: one for name, one in self.figures.items() if not one["layout"]["meta"]["empty"]}

    @property
    def missing(self) -> list[str]:
        """The titles of the figures for which the run has no numbers."""
        empty = (one["layout"]["meta"] for one in self.figures.values())
        return [str(meta["title"]) for meta in empty if meta["empty"]]

    @property
    def told_alerts(self) -> list[Told]:
        """The alerts that fired, or may still, oldest first."""
        told = (one for one in self.alerts if one["state"] != "resolved" or one["fired_step"] is not None)
        return sorted(told, key=lambda one: (one["fired_step"] or one["opened_step"], one["alert_id"]))

    def settings(self) -> Iterator[tuple[str, str]]:
        """The configuration, flat: dotted keys and their values as text."""
        yield from _flat(self.facts.get("config") or {}, "")


@dataclass(frozen=True, slots=True)
class Report:
    """Some runs, and, of more than one, the figures that compare them. `source` is where it is from.

    In a notebook it shows its words; `figure("loss")` is a plotly figure.
    """

    runs: tuple[RunReport, ...]
    comparison: Mapping[str, Figure]
    source: str
    made_at: float

    @property
    def title(self) -> str:
        """The name of the run, or how many there are."""
        return self.runs[0].name if len(self.runs) == 1 else f"{len(self.runs)} runs"

    def run(self, run_id: str | None = None) -> RunReport:
        """One run; the first without an id. Raises KeyError for one that the report does not hold."""
        return self.runs[0] if run_id is None else {one.run_id: one for one in self.runs}[run_id]

    def figure(self, name: str, run_id: str | None = None, theme: Theme = "light") -> "go.Figure":
        """A figure of a run, or of the comparison, as a plotly figure in the theme's colours.

        Raises UnknownFigureError for a name that is in neither, MissingPlotlyError without plotly.
        """
        from foreshock.dashboards.report.notebook_figure import notebook_figure

        run = self.run(run_id)
        if name in run.figures:
            return notebook_figure(run.figures[name], theme, run.name if len(self.runs) > 1 else "")
        if name not in self.comparison:
            held = (*self.comparison, *run.figures)
            raise UnknownFigureError(f"the report has no figure {name!r}; it has {', '.join(held)}")
        return notebook_figure(self.comparison[name], theme)

    def _repr_html_(self) -> str:
        from foreshock.dashboards.report.document import words_html

        return words_html(self)


def _flat(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, member in value.items():
        if isinstance(member, Mapping):
            yield from _flat(member, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(member)

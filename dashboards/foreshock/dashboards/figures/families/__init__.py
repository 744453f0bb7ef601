"""The figures of one run, family by family, in the order of the tabs."""

from collections.abc import Mapping
from typing import Any, Final

from foreshock.dashboards.figures.families import constraint, gains, loss, optimizer, router, stream, system
from foreshock.dashboards.figures.run_figure import RunFigure
from foreshock.wire.readings import RunReader

RUN_FIGURES: Final[Mapping[str, RunFigure]] = {
    name: figure
    for family in (loss, gains, constraint, stream, router, optimizer, system)
    for name, figure in family.FIGURES.items()
}


def figures_of(reader: RunReader) -> list[dict[str, Any]]:
    """The figures that this run has something to show in, as a page needs them to build its tabs."""
    series = frozenset(column.partition("[")[0] for column in reader.columns())
    return [
        {
            "name": name,
            "title": figure.title,
            "family": figure.family,
            "help": figure.help,
            "over": figure.over,
            "overview": figure.overview,
            "options": list(figure.options),
        }
        for name, figure in RUN_FIGURES.items()
        if figure.is_told(series)
    ]

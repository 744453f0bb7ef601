"""From run ids to a report, wherever the runs are."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from foreshock.dashboards.errors import TooManyRunsError
from foreshock.dashboards.figures import COMPARE_FIGURES, RUN_FIGURES, Figure
from foreshock.dashboards.report.report import Report, RunReport

MAX_RUNS: Final = 20
# Up to so many runs are drawn as finely as on a page
_FEW: Final = 4
_COMPARED: Final = ("loss", "composite_amax_forward_max")


class Source(Protocol):
    """Where a report reads runs: a collector, or a database.

    `where` names it. A figure that it cannot draw, being older, is None.
    """

    where: str

    def run(self, run_id: str) -> Mapping[str, Any]:
        """The description of a run; raises what says that there is none."""

    def health(self, run_id: str) -> Mapping[str, Any]:
        """Its health, as `foreshock.dashboards.health.Health.told` has it."""

    def alerts(self, run_id: str) -> Sequence[Mapping[str, Any]]:
        """Its alerts."""

    def figure(self, run_id: str, name: str, buckets: int) -> Figure | None:
        """One of RUN_FIGURES."""

    def comparison(self, run_ids: Sequence[str], name: str, column: str) -> Figure | None:
        """One of COMPARE_FIGURES over the runs, grouped as they were declared."""


def gather(
    source: Source, run_ids: Sequence[str], heard: Callable[[str], None] = lambda words: None
) -> Report:
    """Reads everything of the runs; `heard` is told what is being read.

    Raises TooManyRunsError, and what the source raises for a run that it does not have.
    """
    wanted = list(dict.fromkeys(run_ids))
    if not 1 <= len(wanted) <= MAX_RUNS:
        raise TooManyRunsError(f"{len(wanted)} runs; a report is of 1 to {MAX_RUNS}: name fewer")
    # All are asked for before any is drawn, so that a name mistyped is told at once
    facts = {run_id: source.run(run_id) for run_id in wanted}
    buckets = 500 if len(wanted) <= _FEW else 250
    runs = tuple(_run(source, run_id, facts[run_id], buckets, heard) for run_id in wanted)
    compared = {} if len(wanted) == 1 else _comparison(source, wanted, heard)
    return Report(runs, compared, source.where, time.time())


def _run(
    source: Source, run_id: str, facts: Mapping[str, Any], buckets: int, heard: Callable[[str], None]
) -> RunReport:
    figures = {}
    for name in RUN_FIGURES:
        heard(f"{run_id}: {name}")
        figure = source.figure(run_id, name, buckets)
        if figure is not None:
            figures[name] = figure
    return RunReport(facts, source.health(run_id), source.alerts(run_id), figures)


def _comparison(source: Source, run_ids: Sequence[str], heard: Callable[[str], None]) -> dict[str, Figure]:
    found = {}
    for name in COMPARE_FIGURES:
        # Alerts have no column
        for column in _COMPARED[:1] if name == "timelines" else _COMPARED:
            heard(f"comparison: {name} of {column}")
            figure = source.comparison(run_ids, name, column)
            if figure is not None and not figure["layout"]["meta"]["empty"]:
                found[name if name == "timelines" else f"{name}_{column}"] = figure
    return found

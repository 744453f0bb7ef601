"""Pace, schedule and machine."""

from collections.abc import Mapping
from typing import Final

from foreshock.dashboards.figures.machine import PANELS as MACHINE
from foreshock.dashboards.figures.machine import machine
from foreshock.dashboards.figures.pace import PANELS as PACE
from foreshock.dashboards.figures.pace import pace
from foreshock.dashboards.figures.panels import series_of
from foreshock.dashboards.figures.run_figure import RunFigure
from foreshock.dashboards.figures.schedule import schedule

FIGURES: Final[Mapping[str, RunFigure]] = {
    "schedule": RunFigure(
        schedule,
        "Schedule and pace",
        "system",
        "Learning rate, which explains much that looks like trouble, and the seconds a step takes.",
        ("learning_rate", "step_seconds"),
    ),
    "pace": RunFigure(
        pace,
        "Pace",
        "system",
        "Seconds a step and the probe's part of them.",
        series_of(PACE),
    ),
    "machine": RunFigure(
        machine,
        "Machine",
        "system",
        "The training process, its host and its GPU.",
        series_of(MACHINE),
    ),
}

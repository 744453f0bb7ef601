"""Panels in the house's manner: each with a unit, a sentence that says what it is, and limits as lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import common as commons
from grafana_foundation_sdk.models.dashboard import (
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

from foreshock.dashboards.grafana.source import source

GREEN: Final = "green"
YELLOW: Final = "yellow"
RED: Final = "red"
# Value and colour, from the lowest on; the first has no lower end
Steps = Sequence[tuple[float | None, str]]
CALM: Final[Steps] = ((None, GREEN),)

HEALTH_WORDS: Final = (("no open alert", GREEN), ("watch", YELLOW), ("at risk", "orange"), ("diverged", RED))
HEALTH_STEPS: Final[Steps] = ((None, GREEN), (1, YELLOW), (2, "orange"), (3, RED))


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and what its lines are called, labels in double braces."""

    expr: str
    legend: str = ""

    def target(self, number: int) -> prometheus.Dataquery:
        """The query as a panel's target; `number` counts from 0."""
        return (
            prometheus.Dataquery()
            .expr(self.expr)
            .legend_format(self.legend)
            .ref_id(chr(ord("A") + number))
            .datasource(source())
        )


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """Absolute limits with their colours."""
    made = [Threshold(value, color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)


def health_words() -> ValueMap:
    """What `foreshock_health` says, in words: no meaning hangs on a colour alone."""
    named = {str(level): ValueMappingResult(text, color) for level, (text, color) in enumerate(HEALTH_WORDS)}
    return ValueMap(named)


def number(title: str, about: str, expr: str, *, unit: str = "none", steps: Steps = CALM) -> stat.Panel:
    """One number, large; six to a line."""
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(source())
        .with_target(Query(expr).target(0))
        .unit(unit)
        .thresholds(thresholds(steps))
        .color_mode(commons.BigValueColorMode.VALUE)
        .graph_mode(commons.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("none")
        .span(4)
        .height(4)
    )


def lines(
    title: str,
    about: str,
    *queries: Query,
    unit: str = "none",
    log: bool = False,
    steps: Steps = CALM,
) -> timeseries.Panel:
    """Lines over time; limits are drawn as lines too. Three panels to a line of the board."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(source())
        .unit(unit)
        .thresholds(thresholds(steps))
        .thresholds_style(
            common.GraphThresholdsStyleConfig().mode(
                commons.GraphThresholdsStyleMode.DASHED
                if len(steps) > 1
                else commons.GraphThresholdsStyleMode.OFF
            )
        )
        .fill_opacity(0)
        .show_points(commons.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(commons.LegendDisplayMode.LIST)
            .placement(commons.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(commons.TooltipDisplayMode.MULTI)
            .sort(commons.SortOrder.DESCENDING)
        )
        .span(8)
        .height(8)
    )
    if log:
        panel.scale_distribution(common.ScaleDistributionConfig().type(commons.ScaleDistribution.LOG).log(10))
    for place, query in enumerate(queries):
        panel.with_target(query.target(place))
    return panel


def health_strip(title: str, about: str, query: Query) -> statetimeline.Panel:
    """Each run's health as a strip of time."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(about)
        .datasource(source())
        .with_target(query.target(0))
        .unit("none")
        .mappings([health_words()])
        .thresholds(thresholds(HEALTH_STEPS))
        .show_value(commons.VisibilityMode.AUTO)
        .merge_values(True)
        .span(24)
        .height(8)
    )

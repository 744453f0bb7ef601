"""A table with one row a run: several instant queries joined by their labels."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from grafana_foundation_sdk.builders import common, prometheus, table
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from foreshock.dashboards.grafana.panel import CALM, Steps, thresholds
from foreshock.dashboards.grafana.source import source

RUN_PAGE = "${foreshock}/runs/${__data.fields.run_id}"
RUN_BOARD = "/d/foreshock-run?var-run=${__data.fields.run_id}&${__url_time_range}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, its query, and how its values are written."""

    name: str
    expr: str
    unit: str = "none"
    steps: Steps = CALM
    more: Sequence[DynamicConfigValue] = field(default_factory=tuple)

    def settings(self) -> list[DynamicConfigValue]:
        """What differs from the table's other columns."""
        settings = [DynamicConfigValue("unit", self.unit), *self.more]
        if len(self.steps) > 1:
            settings += [
                DynamicConfigValue("thresholds", thresholds(self.steps).build()),
                DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            ]
        return settings


def run_table(title: str, about: str, columns: Sequence[Column]) -> table.Panel:
    """The table, sorted by its first column, the worst on top; each run leads to its pages."""
    panel = (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(source())
        .sort_by([common.TableSortByFieldState().display_name(columns[0].name).desc(True)])
        .with_transformation(DataTransformerConfig("merge", options={}))
        .with_transformation(DataTransformerConfig("organize", options=_arrangement(columns)))
        .override_by_name("run_id", [DynamicConfigValue("custom.hidden", True)])
        .override_by_name(
            "run",
            [
                DynamicConfigValue(
                    "links", [_link("foreshock's page", RUN_PAGE), _link("its board", RUN_BOARD)]
                )
            ],
        )
        .span(24)
        .height(9)
    )
    for place, column in enumerate(columns):
        panel.with_target(
            prometheus.Dataquery()
            .expr(column.expr)
            .instant()
            .format(PromQueryFormat.TABLE)
            .ref_id(_ref(place))
            .datasource(source())
        )
        panel.override_by_name(column.name, column.settings())
    return panel


def _arrangement(columns: Sequence[Column]) -> dict[str, Any]:
    """Which fields are shown, in which order, under which names."""
    # Grafana calls a lone query's values otherwise
    names = {f"Value #{_ref(place)}": column.name for place, column in enumerate(columns)}
    order = ["run", "project", *names, "run_id"]
    return {
        "excludeByName": {"Time": True},
        "indexByName": {name: place for place, name in enumerate(order)},
        "renameByName": names,
    }


def _ref(place: int) -> str:
    return chr(ord("A") + place)


def _link(title: str, url: str) -> dict[str, Any]:
    return {"title": title, "url": url, "targetBlank": False}

"""A board: what all of them share, and how its JSON comes to be."""

import json
from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationContainer,
    AnnotationQuery,
    DashboardCursorSync,
    DashboardLinkType,
    Panel,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from foreshock.dashboards.grafana.source import CHOSEN, source

TAG: Final = "foreshock"
# Runs may share a name, so the id is what is chosen, and the name is what is read. What a name holds cannot
# reach the id: labels come in the order of the alphabet, and the last run_id counts.
RUN_CHOICE: Final = '/[{,]run="(?<text>[^"]*).*,run_id="(?<value>[^"]+)"/'


class AlertMarks(AnnotationQuery):
    """When alerts fired, over every chart; the SDK has no fields for what Prometheus' marks say."""

    def to_json(self) -> dict[str, object]:
        """The query with the words of its marks."""
        said = {"titleFormat": "{{rule}}", "textFormat": "{{run}}: {{severity}}", "tagKeys": "severity"}
        return {**super().to_json(), **said, "step": "5s"}


def board(uid: str, title: str, about: str) -> dashboard.Dashboard:
    """An empty board with its variables, marks and links."""
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags([TAG])
        .timezone("browser")
        .refresh("5s")
        .time("now-1h", "now")
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .variables([_address(), _projects(), _runs()])
        .link(dashboard.DashboardLink("foreshock").type(DashboardLinkType.LINK).url("${foreshock}/"))
        .link(dashboard.DashboardLink("alerts").type(DashboardLinkType.LINK).url("${foreshock}/alerts"))
        .link(
            dashboard.DashboardLink("boards").type(DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(True)
        )
    )


def fill(made: dashboard.Dashboard, rows: Sequence[tuple[str, Sequence[Builder[Panel]]]]) -> str:
    """The board's JSON, with rows of panels that are numbered in order."""
    for title, panels in rows:
        made.with_row(dashboard.Row(title))
        for panel in panels:
            made.with_panel(panel)
    built = made.build()
    built.annotations = AnnotationContainer([_marks()])
    for number, one in enumerate(built.panels or [], 1):
        one.id_val = number
    return json.dumps(built, cls=JSONEncoder, indent=1, ensure_ascii=False) + "\n"


def _address() -> dashboard.QueryVariable:
    """Where people reach the collector, which it tells itself."""
    return _variable("foreshock", "label_values(foreshock_collector_info, address)").hide(
        VariableHide.HIDE_VARIABLE
    )


def _projects() -> dashboard.QueryVariable:
    return _with_all(_variable("project", "label_values(foreshock_last_step, project)").label("project"))


def _runs() -> dashboard.QueryVariable:
    query = 'query_result(foreshock_last_step{project=~"$project"})'
    return _with_all(_variable("run", query).label("run").regex(RUN_CHOICE))


def _variable(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .datasource(source())
        .query({"query": query, "refId": name})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _with_all(variable: dashboard.QueryVariable) -> dashboard.QueryVariable:
    everything = VariableOption(text=["All"], value=["$__all"])
    return variable.multi(True).include_all(True).all_value(".*").current(everything)


def _marks() -> AlertMarks:
    marks = AlertMarks(name="alerts", datasource=source(), icon_color="red")
    marks.expr = f"max by (run, rule, severity) (foreshock_firing_alerts{{{CHOSEN}}})"
    return marks

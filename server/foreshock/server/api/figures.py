"""Figures as plotly JSON: made once for all who look at the same run at the same step."""

import hashlib
import inspect
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from foreshock.dashboards.figures import COMPARE_FIGURES, RUN_FIGURES
from foreshock.server.api.answer import Answer, CallerDep, CollectorDep, StoredRunDep, of_caller
from foreshock.server.api.series import Name, WindowQuery
from foreshock.server.collector import Collector
from foreshock.server.errors import InvalidError, UnknownFigureError
from foreshock.server.figure_cache import Key
from foreshock.server.nonfinite import encode_json
from foreshock.server.store.compare import CompareQuery, Comparison, compare
from foreshock.server.store.freshness import project_mark, run_mark
from foreshock.wire import parse_column
from foreshock.wire.readings import AlertMark

router = APIRouter(tags=["figures"])


class RunFigureQuery(WindowQuery):
    """The window, and what some figures can be told besides."""

    series: Name | None = Field(default=None, description="Which per-layer series the gain map shows.")
    log_y: bool | None = Field(default=None, description="Whether the loss is drawn on a log scale.")

    def options(self) -> dict[str, Any]:
        """What was said beside the window."""
        given = {"series": self.series, "log_y": self.log_y}
        return {name: value for name, value in given.items() if value is not None}


@router.get("/runs/{run_id}/figures/{figure}", response_class=Answer)
def read_run_figure(
    request: Request,
    run: StoredRunDep,
    collector: CollectorDep,
    figure: str,
    query: Annotated[RunFigureQuery, Query()],
) -> Response:
    """One figure of one run as a plotly dictionary."""
    draw = RUN_FIGURES.get(figure)
    if draw is None:
        raise UnknownFigureError(
            f"no figure of a run is called {figure[:64]!r}; there are {', '.join(RUN_FIGURES)}"
        )
    options = query.options()
    if options.keys() - inspect.signature(draw).parameters.keys():
        raise InvalidError(f"figure {figure} takes no {' or '.join(options)}: leave it out")
    if query.series is not None:
        parse_column(query.series)
    key: Key = (run.run_id, figure, query.model_dump_json(), run_mark(collector.engine, run.run_id))
    return _answer(request, collector, key, lambda: draw(run, query.window(), **options))


@router.get("/compare/figures/{figure}", response_class=Answer)
def read_compare_figure(
    request: Request,
    collector: CollectorDep,
    caller: CallerDep,
    figure: str,
    query: Annotated[CompareQuery, Query()],
) -> Response:
    """One figure over groups of runs as a plotly dictionary."""
    if figure not in COMPARE_FIGURES:
        names = ", ".join(COMPARE_FIGURES)
        raise UnknownFigureError(f"no figure of a comparison is called {figure[:64]!r}; there are {names}")
    query = of_caller(query, caller)
    mark = project_mark(collector.engine, query.project)
    key: Key = ("", figure, query.model_dump_json(), mark)
    return _answer(request, collector, key, lambda: _draw_comparison(collector, figure, query))


def _draw_comparison(collector: Collector, figure: str, query: CompareQuery) -> dict[str, Any]:
    found = compare(collector.engine, collector.windows, query)
    draw = COMPARE_FIGURES[figure]
    if figure == "seeds":
        return draw([group for group, _ in found.groups], query.column)
    return draw(*_timelines(collector, found))


def _timelines(collector: Collector, found: Comparison) -> tuple[dict[str, list[AlertMark]], dict[str, int]]:
    """Alerts and last steps by a name that no two runs share."""
    compared = [run for _, runs in found.groups for run in runs]
    names = [run.name for run in compared]
    shown = {
        run.name if names.count(run.name) == 1 else f"{run.name} ({run.run_id})": run for run in compared
    }
    marks = {name: collector.run(run.run_id).alerts() for name, run in shown.items()}
    return marks, {name: run.last_step for name, run in shown.items()}


def _answer(request: Request, collector: Collector, key: Key, draw: Any) -> Response:
    """The figure from the cache or drawn now; 304 for a page that has this very one."""
    tag = f'W/"{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    body = collector.figures.get(key, lambda: encode_json(draw()))
    return Answer(body, headers=headers)

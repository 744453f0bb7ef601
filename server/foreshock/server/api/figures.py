"""Figures as plotly JSON: made once for all who look at the same run at the same step."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from foreshock.dashboards.figures import COMPARE_FIGURES, FAMILIES, RUN_FIGURES, Axis, axes_of, figures_of
from foreshock.dashboards.figures.patch import MEDIA_TYPE, diff
from foreshock.server.api.answer import Answer, CallerDep, CollectorDep, StoredRunDep, of_caller
from foreshock.server.api.series import Name, WindowQuery
from foreshock.server.collector import Collector
from foreshock.server.errors import InvalidError, UnknownFigureError
from foreshock.server.figure_cache import Drawn, Key
from foreshock.server.nonfinite import encode_json
from foreshock.server.store.compare import CompareQuery, Comparison, compare
from foreshock.server.store.difference import difference_of
from foreshock.server.store.freshness import project_mark, run_mark
from foreshock.server.store.read import StoredRun
from foreshock.server.store.windows import Windows
from foreshock.wire import parse_column
from foreshock.wire.readings import AlertMark, GroupSeries

router = APIRouter(tags=["figures"])

MANIPULATION: Final = "figure-patch"
# Patches are small and many
MIN_PACKED_PATCH: Final = 256


class RunFigureQuery(WindowQuery):
    """The window, and what some figures can be told besides."""

    series: Name | None = Field(default=None, description="Which per-layer series the gain map shows.")
    log_y: bool | None = Field(default=None, description="Log or linear; default: each signal's own scale.")
    axis: Axis | None = Field(default=None, description="Over steps, wall time or tokens; default: steps.")
    smooth: float | None = Field(
        default=None, gt=0, le=1000, description="Half-life in buckets of a moving average over raw lines."
    )

    def options(self) -> dict[str, Any]:
        """What was said beside the window."""
        given = self.model_dump(include={"series", "log_y", "axis", "smooth"})
        return {name: value for name, value in given.items() if value is not None}


class CompareFigureQuery(CompareQuery):
    """Which runs are compared, and which two of their groups the difference is of."""

    of: str | None = Field(default=None, max_length=200, description="A group's key; default: the first.")
    against: str | None = Field(default=None, max_length=200, description="Another's; default: the next.")


@router.get("/runs/{run_id}/figures", response_class=Answer)
def list_run_figures(run: StoredRunDep) -> Answer:
    """The figures that this run has something to show in, by family, with title, help and options."""
    figures = figures_of(run)
    told = {one["family"] for one in figures}
    families = [{"name": name, "title": title} for name, title in FAMILIES.items() if name in told]
    return Answer(
        {"run_id": run.run_id, "axes": axes_of(run), "families": families, "figures": figures},
    )


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
    if options.keys() - set(draw.options):
        raise InvalidError(f"figure {figure} takes no {' or '.join(options)}: leave it out")
    if query.series is not None:
        parse_column(query.series)
    key: Key = (run.run_id, figure, query.model_dump_json(), run_mark(collector.engine, run.run_id))
    return answer_figure(request, collector, key, lambda: draw(run, query.window(), **options))


@router.get("/compare/figures/{figure}", response_class=Answer)
def read_compare_figure(
    request: Request,
    collector: CollectorDep,
    caller: CallerDep,
    figure: str,
    query: Annotated[CompareFigureQuery, Query()],
) -> Response:
    """One figure over groups of runs as a plotly dictionary."""
    if figure not in COMPARE_FIGURES:
        names = ", ".join(COMPARE_FIGURES)
        raise UnknownFigureError(f"no figure of a comparison is called {figure[:64]!r}; there are {names}")
    if figure != "difference" and (query.of, query.against) != (None, None):
        raise InvalidError(f"figure {figure} shows all groups: leave out `of` and `against`")
    pair = query.of, query.against
    asked = of_caller(CompareQuery(**query.model_dump(exclude={"of", "against"})), caller)
    mark = project_mark(collector.engine, asked.project)
    key: Key = ("", figure, f"{asked.model_dump_json()} {pair!r}", mark)
    return answer_figure(
        request,
        collector,
        key,
        lambda: draw_comparison(collector.engine, collector.windows, figure, asked, pair),
    )


def draw_comparison(
    engine: sa.Engine,
    windows: Windows,
    figure: str,
    query: CompareQuery,
    pair: tuple[str | None, str | None] = (None, None),
) -> dict[str, Any]:
    """One figure over groups of runs; `pair` names the two whose difference is asked for."""
    found = compare(engine, windows, query)
    draw = COMPARE_FIGURES[figure]
    if figure == "difference":
        groups = _pair([group for group, _ in found.groups], *pair)
        return draw(groups and difference_of(*groups, found.scale), query.column)
    if figure == "seeds":
        return draw([group for group, _ in found.groups], query.column)
    return draw(*_timelines(engine, windows, found))


def _pair(
    groups: Sequence[GroupSeries], of: str | None, against: str | None
) -> tuple[GroupSeries, GroupSeries] | None:
    """The two groups that were named, or the first two of what is left; None where there are not two."""
    by_key = {group.key: group for group in groups}
    for name, key in (("of", of), ("against", against)):
        if key is not None and key not in by_key:
            raise InvalidError(f"{name} is {key[:64]!r}; the groups are {', '.join(by_key) or 'none'}")
    left = [key for key in by_key if key not in (of, against)]
    of = of if of is not None else next(iter(left), None)
    against = against if against is not None else next((key for key in left if key != of), None)
    return None if of is None or against is None else (by_key[of], by_key[against])


def _timelines(
    engine: sa.Engine, windows: Windows, found: Comparison
) -> tuple[dict[str, list[AlertMark]], dict[str, int]]:
    """Alerts and last steps by a name that no two runs share."""
    compared = [run for _, runs in found.groups for run in runs]
    names = [run.name for run in compared]
    shown = {
        run.name if names.count(run.name) == 1 else f"{run.name} ({run.run_id})": run for run in compared
    }
    marks = {name: StoredRun(engine, windows, run.run_id).alerts() for name, run in shown.items()}
    return marks, {name: run.last_step for name, run in shown.items()}


def answer_figure(
    request: Request, collector: Collector, key: Key, draw: Callable[[], dict[str, Any]]
) -> Response:
    """The figure from the cache or drawn now; 304 for a page that has this very one.

    A page that takes patches (`A-IM: figure-patch`, as RFC 3229 has it) and names an older one that is
    still held gets what changed since, as 226.
    """
    drawn = collector.figures.get(key, lambda: encode_json(draw()))
    headers = {"ETag": drawn.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding, A-IM"}
    has = request.headers.get("if-none-match", "")
    if has == drawn.tag:
        return Response(status_code=304, headers=headers)
    if request.headers.get("a-im") == MANIPULATION and has:
        patch = _patch(collector, key, has, drawn)
        if patch is not None:
            said = {"IM": MANIPULATION, "Delta-Base": has, "Content-Type": MEDIA_TYPE}
            return Answer(patch, 226, headers | said, min_compressed_bytes=MIN_PACKED_PATCH)
    return Answer(drawn.body, headers=headers)


def _patch(collector: Collector, key: Key, has: str, drawn: Drawn) -> bytes | None:
    """What changed since the figure of tag `has`; None where that is not held any more, or saves nothing."""
    old = collector.figures.tagged(has, key[:3])
    if old is None:
        return None

    def compare_both() -> bytes:
        return encode_json(diff(msgspec.json.decode(old), msgspec.json.decode(drawn.body)))

    # Viewers who look at once come from one figure and go to the same
    of_both: Key = (*key[:2], f"{has} {drawn.tag}", "patch")
    patch = collector.figures.get(of_both, compare_both).body
    return patch if len(patch) < len(drawn.body) else None

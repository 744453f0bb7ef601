"""Figures of one layer of a run: all its signals, against the median and the range of all layers."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from foreshock.dashboards.figures import LAYER_FIGURES, layer_figures_of
from foreshock.server.api.answer import Answer, CollectorDep, StoredRunDep
from foreshock.server.api.figures import answer_figure
from foreshock.server.api.series import WindowQuery
from foreshock.server.errors import UnknownFigureError
from foreshock.server.figure_cache import Key
from foreshock.server.store.freshness import run_mark

router = APIRouter(tags=["figures"])

Layer = Annotated[int, Path(ge=0, le=99_999, description="The sub-layer's number, from 0.")]


@router.get("/runs/{run_id}/layers/{layer}/figures", response_class=Answer)
def list_layer_figures(run: StoredRunDep, layer: Layer) -> Answer:
    """The figures that there is something to show in at this layer, each with its title."""
    return Answer({"run_id": run.run_id, "layer": layer, "figures": layer_figures_of(run, layer)})


@router.get("/runs/{run_id}/layers/{layer}/figures/{figure}", response_class=Answer)
def read_layer_figure(
    request: Request,
    run: StoredRunDep,
    collector: CollectorDep,
    layer: Layer,
    figure: str,
    query: Annotated[WindowQuery, Query()],
) -> Response:
    """One figure of one layer as a plotly dictionary."""
    draw = LAYER_FIGURES.get(figure)
    if draw is None:
        raise UnknownFigureError(
            f"no figure of a layer is called {figure[:64]!r}; there are {', '.join(LAYER_FIGURES)}"
        )
    mark = run_mark(collector.engine, run.run_id)
    key: Key = (run.run_id, f"layer {layer} {figure}", query.model_dump_json(), mark)
    return answer_figure(request, collector, key, lambda: draw(run, query.window(), layer))

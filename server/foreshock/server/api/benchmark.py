"""How well the detectors warn: the evaluations that the package ships, and their figures."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from foreshock.dashboards.benchmark import BENCHMARK_FIGURES, Evaluation, evaluations
from foreshock.server.api.answer import Answer
from foreshock.server.errors import UnknownEvaluationError, UnknownFigureError

router = APIRouter(tags=["benchmark"])

_KEPT = {"Cache-Control": "private, max-age=300"}
_EXAMPLE: dict[str, Any] = {
    "evaluations": [
        {"name": "fitted", "title": "development split", "date": "2026-11-22", "states": {"T1": "missed"}}
    ],
    "shown": None,
}


class EvaluationQuery(BaseModel):
    """Which evaluation is asked for."""

    model_config = ConfigDict(extra="forbid")

    evaluation: str | None = Field(None, max_length=100, description="Its name; by default the newest.")


@router.get(
    "/benchmark",
    response_class=Answer,
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
def read_benchmark(query: Annotated[EvaluationQuery, Query()]) -> Answer:
    """Every evaluation that was made, and one of them whole: targets, watchers, verdict."""
    made = evaluations()
    told: dict[str, Any] = {"evaluations": [one.summary() for one in made], "shown": None}
    if made or query.evaluation is not None:
        shown = _found(query.evaluation)
        told["shown"] = shown.summary() | {"verdict": shown.verdict(), "score": _numbers(shown)}
    return Answer(told, headers=_KEPT)


@router.get("/benchmark/figures/{figure}", response_class=Answer)
def read_benchmark_figure(figure: str, query: Annotated[EvaluationQuery, Query()]) -> Answer:
    """One figure of one evaluation as a plotly dictionary."""
    if figure not in BENCHMARK_FIGURES:
        names = ", ".join(BENCHMARK_FIGURES)
        raise UnknownFigureError(f"no figure of the benchmark is called {figure[:64]!r}; there are {names}")
    return Answer(BENCHMARK_FIGURES[figure](_found(query.evaluation)), headers=_KEPT)


def _found(name: str | None) -> Evaluation:
    made = evaluations()
    found = next((one for one in made if name in (None, one.name)), None)
    if found is None:
        names = ", ".join(one.name for one in made) or "none: make score ships one"
        raise UnknownEvaluationError(f"no evaluation is called {str(name)[:64]!r}; there is {names}")
    return found


def _numbers(shown: Evaluation) -> dict[str, Any]:
    """The score without its curves and events, which the figures draw."""
    curves = ("froc", "molchan", "molchan_point", "calibration")
    watchers = {
        name: {key: value for key, value in each.items() if key not in curves}
        | {"skill": each["molchan"] and each["molchan"]["skill"]}
        for name, each in reversed(shown.watchers.items())
    }
    return {key: value for key, value in shown.score.items() if key != "events"} | {"watchers": watchers}

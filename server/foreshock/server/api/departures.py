"""Departures: which series of a run have left their baselines, since when, and by how much."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from msgspec import to_builtins
from pydantic import BaseModel, ConfigDict, Field

from foreshock.server.api.answer import Answer, CollectorDep, StoredRunDep
from foreshock.server.store.departures import read_departures

router = APIRouter(tags=["series"])

_EXAMPLE: Final[dict[str, Any]] = {
    "run_id": "hc-seed-0",
    "attempt": 0,
    "step": 840,
    "threshold": 4.3,
    "num_columns": 213,
    "total": 1,
    "departures": [
        {
            "column": "router_max_violation[5]",
            "series": "router_max_violation",
            "layer": 5,
            "since_step": 812,
            "step": 840,
            "deviations": 9.1,
            "value": 1.42,
            "baseline": 1.07,
            "words": "router_max_violation of layer 5 rose at step 812, 9.1 deviations",
        }
    ],
}


class DeparturesQuery(BaseModel):
    """How many departures are told."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=1000)


@router.get(
    "/runs/{run_id}/departures",
    response_class=Answer,
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
def list_departures(
    run: StoredRunDep, query: Annotated[DeparturesQuery, Query()], collector: CollectorDep
) -> Answer:
    """The series that are away from their baselines at the newest judged step, first movers first."""
    found = read_departures(collector.engine, run.run_id)
    told = found.departures[: query.limit]
    return Answer(
        {
            "run_id": run.run_id,
            "attempt": found.attempt,
            "step": found.step,
            "threshold": found.threshold,
            "num_columns": found.num_columns,
            "total": len(found.departures),
            "departures": [to_builtins(one) | {"words": one.words} for one in told],
        }
    )

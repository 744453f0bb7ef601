"""Comparison of groups of seeds."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from foreshock.dashboards.figures import COMPARE_FIGURES
from foreshock.server.api.answer import Answer, CallerDep, CollectorDep, of_caller
from foreshock.server.store.compare import CompareQuery, compare, groups_as_json

router = APIRouter(tags=["compare"])

_EXAMPLE: dict[str, Any] = {
    "project": "demo",
    "group_by": "connection",
    "column": "composite_amax_forward_max",
    "reduce": "max",
    "scale": "log",
    "bucket_width": 1,
    "num_ungrouped": 0,
    "num_left_out": 0,
    "figures": ["seeds", "timelines"],
    "groups": [
        {
            "key": "hc",
            "runs": [
                {
                    "run_id": "hc-seed-0",
                    "name": "hc, seed 0",
                    "seed": 0,
                    "state": "crashed",
                    "last_step": 89,
                    "final_loss": 2.1,
                    "log_peak_gain": 4.8,
                }
            ],
            "first_step": [0, 10],
            "mean": [1.0, 1.3],
            "low": [1.0, 1.3],
            "high": [1.0, 1.3],
            "seeds": [{"run_id": "hc-seed-0", "values": [1.0, 1.3]}],
        }
    ],
}


@router.get(
    "/compare",
    response_class=Answer,
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
def read_comparison(
    query: Annotated[CompareQuery, Query()], collector: CollectorDep, caller: CallerDep
) -> Answer:
    """Groups of runs on common steps: each seed, the mean, and a band.

    The band is the 95 % Student-t interval of the mean from three seeds on, the seeds' range below;
    signals read on a log scale are averaged there (`scale`).
    """
    query = of_caller(query, caller)
    found = compare(collector.engine, collector.windows, query)
    return Answer(
        {
            **query.model_dump(),
            "figures": list(COMPARE_FIGURES),
            "scale": found.scale,
            "bucket_width": found.bucket_width,
            "num_ungrouped": found.num_ungrouped,
            "num_left_out": found.num_left_out,
            "groups": groups_as_json(found),
        }
    )

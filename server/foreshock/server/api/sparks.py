"""Thumbnails of the runs on a screen."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from foreshock.dashboards.figures.spark import spark
from foreshock.server.api.answer import Answer, CallerDep, CollectorDep, seen_run
from foreshock.server.collector import Collector
from foreshock.server.nonfinite import encode_json
from foreshock.server.store.read import StoredRun

router = APIRouter(tags=["figures"])

_EXAMPLE: dict[str, Any] = {
    "sparks": {
        "hc-seed-0": {
            "kind": "layers",
            "rows": ["444455667788", "444444455566"],
            "told": "gain of layers over steps; now layer 0 is farthest from 1, at 11.2x",
            "attempt": 0,
            "last_step": 400,
        }
    }
}


class SparkQuery(BaseModel):
    """Which runs are asked for: as many as a screen shows."""

    model_config = ConfigDict(extra="forbid")

    run: list[Annotated[str, Field(max_length=64)]] = Field(
        min_length=1, max_length=100, examples=[["hc-seed-0"]]
    )


@router.get(
    "/sparks",
    response_class=Answer,
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
def read_sparks(query: Annotated[SparkQuery, Query()], collector: CollectorDep, caller: CallerDep) -> Answer:
    """Each run's newest attempt as rows of characters: layers by steps, "4" a gain of 1, "8" of 10 or more.

    "0" is a gain of 0.1 or less, "x" is not finite, "." was not told; of runs that measure no layer, `kind`
    is "loss" and the one row goes from its lowest "0" to its highest "8".
    """
    runs = [seen_run(run_id, collector, caller) for run_id in dict.fromkeys(query.run)]
    return Answer({"sparks": {run.run_id: _spark(collector, run) for run in runs}})


def _spark(collector: Collector, run: StoredRun) -> dict[str, Any]:
    """From the cache, where a run stands that has not trained on."""
    attempt, last_step = run.row["attempt"], run.row["last_step"]
    key = (run.run_id, "spark", "", f"{attempt}-{last_step}")
    drawn = collector.figures.get(key, lambda: encode_json(spark(run)))
    return {**msgspec.json.decode(drawn.body), "attempt": attempt, "last_step": last_step}

"""What the forecast said of a run, over its steps."""

from typing import Annotated

from fastapi import APIRouter, Query

from foreshock.server.api.answer import Answer, StoredRunDep
from foreshock.server.api.series import WindowQuery
from foreshock.server.detection.forecast.forecaster import HORIZON_NAMES

router = APIRouter(tags=["series"])


@router.get("/runs/{run_id}/risk", response_class=Answer)
def read_risk(run: StoredRunDep, query: Annotated[WindowQuery, Query()]) -> Answer:
    """The risk of a spike or divergence within 20 and 100 steps, 5 and 10 % of the run, 0 to 1.

    It is forecast at every step of a run's first 256, then at ever fewer, from 2,048 on at every sixteenth;
    `first_step` and `last_step` are those of the ticks in a bucket, `risk` holds for each horizon the
    largest of each bucket. Empty where nothing was judged yet, or by a foreshock that stored no risk.
    """
    window = query.window()
    attempt = run.found_attempt(window)
    found = run.risk(window)
    return Answer(
        {
            "run_id": run.run_id,
            "attempt": attempt,
            "bucket_width": found.bucket_width,
            "horizons": HORIZON_NAMES,
            "first_step": found.first_step,
            "last_step": found.last_step,
            "risk": found.risk,
        }
    )

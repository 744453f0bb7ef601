"""Appends: the way of a batch from a probe into the log."""

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool

from foreshock.server.api.answer import Answer, CollectorDep, RunId
from foreshock.server.collector import Collector
from foreshock.server.errors import ServerError
from foreshock.server.store.entries import Submission, read_body
from foreshock.server.store.transitions import unseen_alerts
from foreshock.wire import CONTENT_TYPE, AppendAnswer, WireError

router = APIRouter(tags=["append"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "An append body: `foreshock.wire.encode_body`, at most 16 MiB.",
        "content": {CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}
_EXAMPLE = {"next_sequence": 18, "num_duplicates": 0, "alerts": []}


async def read_bytes(request: Request) -> bytes:
    """The whole body; the guard before the routes stops one that grows too large."""
    return await request.body()


@router.post(
    "/runs/{run_id}/append",
    response_class=Answer,
    openapi_extra=_BODY,
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
async def append(
    run_id: RunId, data: Annotated[bytes, Depends(read_bytes)], collector: CollectorDep
) -> Answer:
    """Stores records and answers after the commit, with all alerts that the probe has not seen."""
    started = time.perf_counter()
    try:
        answer = await _store(collector, run_id, data)
    except (ServerError, WireError) as error:
        code = error.code if isinstance(error, ServerError) else "malformed"
        collector.instruments.appends.labels(result=code).inc()
        raise
    collector.instruments.appends.labels(result="stored").inc()
    collector.instruments.append_seconds.observe(time.perf_counter() - started)
    return Answer(answer)


async def _store(collector: Collector, run_id: str, data: bytes) -> AppendAnswer:
    submission = await run_in_threadpool(read_body, data, run_id)
    receipt = await asyncio.wrap_future(collector.log.submit(submission))
    alerts = await run_in_threadpool(_unseen, collector, submission)
    return AppendAnswer(
        next_sequence=receipt.next_sequence, num_duplicates=receipt.num_duplicates, alerts=alerts
    )


def _unseen(collector: Collector, submission: Submission) -> list[Any]:
    return unseen_alerts(collector.engine, submission.run_id, submission.last_alert)

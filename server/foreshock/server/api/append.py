"""Appends: the way of a batch from a probe into the log."""

import asyncio
import math
import time
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from foreshock.server.api.answer import Answer, CallerDep, CollectorDep, RunId
from foreshock.server.caller import Caller
from foreshock.server.collector import Collector
from foreshock.server.errors import ServerError
from foreshock.server.store.entries import Submission, read_body
from foreshock.server.store.transitions import unseen_alerts
from foreshock.wire import (
    CLOCK_HEADER,
    CONTENT_TYPE,
    MAX_BODY_BYTES,
    Alert,
    AppendAnswer,
    WireError,
    unpacked_bytes,
)

router = APIRouter(tags=["append"])

# What is read within a millisecond is not worth a change of thread, which costs a live probe as much
MAX_BYTES_AT_ONCE = 256 * 1024

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "An append body: `foreshock.wire.encode_body`, at most 16 MiB.",
        "content": {CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}
_EXAMPLE = {"next_sequence": 18, "num_duplicates": 0, "alerts": []}


def _announced_bytes(request: Request) -> int:
    """What the sender says that its body has; the most that it may have, where it does not say."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else MAX_BODY_BYTES


def _clock_behind(request: Request) -> float:
    """How far the sender's clock is behind ours; 0 where it does not say what it shows, or nonsense."""
    try:
        shown = float(request.headers.get(CLOCK_HEADER, ""))
    except ValueError:
        return 0.0
    return time.time() - shown if math.isfinite(shown) else 0.0


@router.post(
    "/runs/{run_id}/append",
    response_class=Answer,
    openapi_extra=_BODY,
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
async def append(run_id: RunId, request: Request, collector: CollectorDep, caller: CallerDep) -> Answer:
    """Stores records and answers after the commit, with all alerts that the probe has not seen."""
    started = time.perf_counter()
    try:
        with collector.room.hold(_announced_bytes(request)):
            answer = await _store(collector, caller, run_id, await request.body(), _clock_behind(request))
    except (ServerError, WireError) as error:
        code = error.code if isinstance(error, ServerError) else "malformed"
        collector.instruments.appends.labels(result=code).inc()
        raise
    collector.instruments.appends.labels(result="stored").inc()
    collector.instruments.append_seconds.observe(time.perf_counter() - started)
    return Answer(answer)


async def _store(
    collector: Collector, caller: Caller, run_id: str, data: bytes, clock_behind: float
) -> AppendAnswer:
    if unpacked_bytes(data) <= MAX_BYTES_AT_ONCE:
        submission = read_body(data, run_id)
    else:
        async with collector.reading_large_bodies:
            submission = await run_in_threadpool(read_body, data, run_id)
    most = min(collector.settings.max_series, caller.limits.max_series or collector.settings.max_series)
    submission = replace(submission, project=caller.project, max_series=most, clock_behind=clock_behind)
    receipt = await asyncio.wrap_future(collector.log.submit(submission))
    alerts: list[Alert] = []
    if receipt.last_alert > submission.last_alert:
        alerts = await run_in_threadpool(_unseen, collector, submission)
    return AppendAnswer(
        next_sequence=receipt.next_sequence, num_duplicates=receipt.num_duplicates, alerts=alerts
    )


def _unseen(collector: Collector, submission: Submission) -> list[Alert]:
    return unseen_alerts(collector.engine, submission.run_id, submission.last_alert)

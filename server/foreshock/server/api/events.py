"""Server-sent events: tiny words that something is new; pages then fetch what they show."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from foreshock.server.api.answer import CallerDep, CollectorDep
from foreshock.server.bell import News
from foreshock.server.caller import Caller
from foreshock.server.collector import Collector
from foreshock.server.nonfinite import encode_json
from foreshock.server.store.runs import ids_of_project

router = APIRouter(tags=["events"])

HEARTBEAT_SECONDS: Final = 15.0
_EXAMPLE: Final = 'event: step\ndata: {"run_id":"hc-seed-0","step":120}\n\n'
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_RESPONSES: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"example": _EXAMPLE}}}}


@router.get("/events", response_class=StreamingResponse, responses=_RESPONSES)
async def read_news(
    collector: CollectorDep, caller: CallerDep, run_id: Annotated[str | None, Query(max_length=64)] = None
) -> StreamingResponse:
    """`step`, `judged`, `alert` and `run` events, of one run or of all, until the reader may hear no more."""
    collector.bell.check_room()
    return StreamingResponse(
        _stream(collector, caller, run_id), headers=_HEADERS, media_type="text/event-stream"
    )


async def _stream(collector: Collector, caller: Caller, run_id: str | None) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    async with aclosing(collector.bell.listen(run_id, HEARTBEAT_SECONDS)) as listening:
        async for news in listening:
            if not await collector.callers.is_current(caller):
                return
            if news and caller.project is not None:
                news = await run_in_threadpool(_of_project, collector, caller.project, news)
                if not news:
                    continue
            if not news:
                yield b": still here\n\n"
            for name, data in news:
                yield b"event: " + name.encode() + b"\ndata: " + encode_json(data) + b"\n\n"


def _of_project(collector: Collector, project: str, news: list[News]) -> list[News]:
    """Those that are about the project's runs and groups."""
    known = ids_of_project(collector.engine, project, {str(data["run_id"]) for _, data in news})
    return [(name, data) for name, data in news if data["run_id"] in known]

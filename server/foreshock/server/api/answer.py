"""Answers and dependencies that all routes share."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Request
from starlette.responses import Response

from foreshock.server.collector import Collector
from foreshock.server.names import check_run_id
from foreshock.server.nonfinite import encode_json
from foreshock.server.store.read import StoredRun

Number = float | Literal["NaN", "Infinity", "-Infinity"]


class Answer(Response):
    """JSON of arrays, dataclasses and plain values; non-finite numbers are strings."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return encode_json(content)


def get_collector(request: Request) -> Collector:
    """The collector that serves this request."""
    collector: Collector = request.app.state.collector
    return collector


CollectorDep = Annotated[Collector, Depends(get_collector)]
RunId = Annotated[str, Path(max_length=64, description="The run's id.", examples=["hc-seed-0"])]


def get_stored_run(run_id: RunId, collector: CollectorDep) -> StoredRun:
    """The run named in the path, if there is one."""
    run = collector.run(check_run_id(run_id))
    _ = run.row
    return run


StoredRunDep = Annotated[StoredRun, Depends(get_stored_run)]

"""Answers and dependencies that all routes share."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Path, Request
from starlette.responses import Response

from foreshock.server.api.compress import accepted_encoding, pack
from foreshock.server.caller import Caller
from foreshock.server.collector import Collector
from foreshock.server.errors import UnknownRunError
from foreshock.server.names import check_run_id
from foreshock.server.nonfinite import encode_json
from foreshock.server.store.alerts import AlertQuery
from foreshock.server.store.compare import CompareQuery
from foreshock.server.store.listing import RunQuery
from foreshock.server.store.read import StoredRun

MIN_COMPRESSED_BYTES: Final = 2048
Filtered = TypeVar("Filtered", RunQuery, AlertQuery, CompareQuery)


class Answer(Response):
    """JSON of arrays, dataclasses and plain values, or JSON bytes; non-finite numbers are strings."""

    media_type = "application/json"

    def __init__(
        self,
        content: Any,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        min_compressed_bytes: int = MIN_COMPRESSED_BYTES,
    ) -> None:
        body = content if isinstance(content, bytes) else encode_json(content)
        headers = {"Vary": "Accept-Encoding", **(headers or {})}
        if (encoding := accepted_encoding.get()) and len(body) >= min_compressed_bytes:
            body = pack(body, encoding)
            headers["Content-Encoding"] = encoding
        super().__init__(body, status_code, headers)


def get_collector(request: Request) -> Collector:
    """The collector that serves this request."""
    collector: Collector = request.app.state.collector
    return collector


CollectorDep = Annotated[Collector, Depends(get_collector)]
RunId = Annotated[str, Path(max_length=64, description="The run's id.", examples=["hc-seed-0"])]


def get_caller(request: Request) -> Caller:
    """Who asks, as the guard has found out."""
    caller: Caller = request.state.caller
    return caller


CallerDep = Annotated[Caller, Depends(get_caller)]


def get_stored_run(run_id: RunId, collector: CollectorDep, caller: CallerDep) -> StoredRun:
    """The run named in the path; raises UnknownRunError, for another project's run too."""
    return seen_run(run_id, collector, caller)


def seen_run(run_id: str, collector: Collector, caller: Caller) -> StoredRun:
    """A run that the caller may see; raises UnknownRunError, for another project's run too."""
    run = collector.run(check_run_id(run_id)).found()
    if not caller.sees(run.row["project"]):
        raise UnknownRunError(f"there is no run {run_id!r} here")
    return run


StoredRunDep = Annotated[StoredRun, Depends(get_stored_run)]


def of_caller(query: Filtered, caller: Caller) -> Filtered:
    """The query, kept to the caller's project; raises ForbiddenError where it asks for another."""
    return query.model_copy(update={"project": caller.project_of(query.project)})

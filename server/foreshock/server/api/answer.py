"""Answers and dependencies that all routes share."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import Depends, Path, Request
from starlette.responses import Response

from foreshock.server.api.compress import accepted_encoding, pack
from foreshock.server.collector import Collector
from foreshock.server.names import check_run_id
from foreshock.server.nonfinite import encode_json
from foreshock.server.store.read import StoredRun

MIN_COMPRESSED_BYTES: Final = 2048


class Answer(Response):
    """JSON of arrays, dataclasses and plain values, or JSON bytes; non-finite numbers are strings."""

    media_type = "application/json"

    def __init__(
        self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        body = content if isinstance(content, bytes) else encode_json(content)
        headers = {"Vary": "Accept-Encoding", **(headers or {})}
        if (encoding := accepted_encoding.get()) and len(body) >= MIN_COMPRESSED_BYTES:
            body = pack(body, encoding)
            headers["Content-Encoding"] = encoding
        super().__init__(body, status_code, headers)


def get_collector(request: Request) -> Collector:
    """The collector that serves this request."""
    collector: Collector = request.app.state.collector
    return collector


CollectorDep = Annotated[Collector, Depends(get_collector)]
RunId = Annotated[str, Path(max_length=64, description="The run's id.", examples=["hc-seed-0"])]


def get_stored_run(run_id: RunId, collector: CollectorDep) -> StoredRun:
    """The run named in the path; raises UnknownRunError."""
    return collector.run(check_run_id(run_id)).found()


StoredRunDep = Annotated[StoredRun, Depends(get_stored_run)]

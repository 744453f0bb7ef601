"""Reports as files: what is known of some runs in one HTML document, built for whoever downloads it."""

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from foreshock.dashboards.report import MAX_RUNS, gather, write_html
from foreshock.server.api.answer import CallerDep, CollectorDep, StoredRunDep, seen_run
from foreshock.server.collector import Collector
from foreshock.server.report_source import StoredSource

router = APIRouter(include_in_schema=False)

_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
RunIds = Annotated[
    list[Annotated[str, Query(max_length=64)]],
    Query(min_length=1, max_length=MAX_RUNS, description="The runs' ids."),
]


@router.get("/runs/{run_id}/report")
def show_report(run: StoredRunDep, collector: CollectorDep) -> Response:
    """One run as a file."""
    return _report(collector, [run.run_id], f"foreshock-{run.run_id}.html")


@router.get("/compare/report")
def show_comparison_report(run: RunIds, collector: CollectorDep, caller: CallerDep) -> Response:
    """Several runs as a file, with what compares them."""
    seen = [seen_run(run_id, collector, caller).run_id for run_id in run]
    return _report(collector, seen, f"foreshock-{len(seen)}-runs.html")


def _report(collector: Collector, run_ids: Sequence[str], name: str) -> Response:
    # Read whole before the first byte leaves, so that what goes wrong is still an error and not half a file
    source = StoredSource(collector.engine, collector.windows, collector.settings.address)
    pieces = write_html(gather(source, run_ids))
    headers = {**_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type="text/html; charset=utf-8", headers=headers)

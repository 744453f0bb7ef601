"""Liveness, readiness, and the page that Prometheus reads."""

import sqlalchemy as sa
from fastapi import APIRouter, Request
from prometheus_client.exposition import choose_encoder
from starlette.responses import PlainTextResponse, Response

from foreshock.server.api.answer import Answer, CollectorDep
from foreshock.server.errors import StorageError
from foreshock.server.store.engine import reading

router = APIRouter(tags=["health"])


@router.get("/healthz", response_class=Answer)
async def read_health() -> Answer:
    """Answers as long as the process serves requests."""
    return Answer({"status": "ok"})


@router.get("/readyz", response_class=Answer)
def read_readiness(collector: CollectorDep) -> Answer:
    """Answers once the database can be read and the writer runs; 503 otherwise."""
    with reading(collector.engine) as connection:
        connection.execute(sa.select(1))
    if not collector.log.is_running:
        raise StorageError("the writer does not run: restart the collector")
    return Answer({"status": "ready"})


@router.get("/metrics", response_class=PlainTextResponse)
def read_metrics(request: Request, collector: CollectorDep) -> Response:
    """Live runs and the collector itself, for Prometheus."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(collector.registry), headers={"Content-Type": content_type})

"""Liveness, readiness, and the page that Prometheus reads."""

import logging

import sqlalchemy as sa
from fastapi import APIRouter, Request
from prometheus_client.exposition import choose_encoder
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import PlainTextResponse, Response

from foreshock.server.api.answer import Answer, CollectorDep
from foreshock.server.errors import StorageError
from foreshock.server.store.engine import reading

router = APIRouter(tags=["health"])
log = logging.getLogger(__name__)


@router.get("/healthz", response_class=Answer)
async def read_health() -> Answer:
    """Answers as long as the process serves requests."""
    return Answer({"status": "ok"})


@router.get("/readyz", response_class=Answer)
def read_readiness(collector: CollectorDep) -> Answer:
    """Answers once the database can be read and the writer runs; 503 otherwise."""
    try:
        with reading(collector.engine) as connection:
            connection.execute(sa.select(1))
    except SQLAlchemyError as error:
        # Anybody may ask, and the database's own words name its address
        log.error("the database does not answer: %s", error)
        raise StorageError("the database does not answer; the collector's log says why") from error
    if not collector.log.is_running:
        raise StorageError("the writer does not run: restart the collector")
    return Answer({"status": "ready"})


@router.get("/metrics", response_class=PlainTextResponse)
def read_metrics(request: Request, collector: CollectorDep) -> Response:
    """Live runs and the collector itself, for Prometheus."""
    try:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
    except (TypeError, ValueError):  # a version that is no version
        encode, content_type = choose_encoder("")
    return Response(encode(collector.registry), headers={"Content-Type": content_type})

"""The web application: routes, the guard before them, and what starts and stops with them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from foreshock.server.api import (
    about,
    alerts,
    append,
    benchmark,
    compare,
    departures,
    events,
    figures,
    frames,
    health,
    keeping,
    layer_figures,
    notes,
    notifiers,
    pages,
    problems,
    reports,
    risk,
    rules,
    run_health,
    runs,
    series,
    silences,
    sparks,
    tokens,
    verdict,
)
from foreshock.server.api.compress import NoteEncodings
from foreshock.server.api.guard import Guard
from foreshock.server.api.limits import BodyLimit
from foreshock.server.api.needs import describe_needs
from foreshock.server.collector import Collector
from foreshock.server.settings import Settings
from foreshock.server.store.engine import Database

_ROUTERS = (
    runs.router,
    run_health.router,
    append.router,
    series.router,
    frames.router,
    notes.router,
    # Before the alerts', whose run ids may hold slashes
    notifiers.router,
    alerts.router,
    silences.router,
    departures.router,
    compare.router,
    verdict.router,
    figures.router,
    layer_figures.router,
    events.router,
    tokens.router,
    keeping.router,
    rules.router,
    risk.router,
    sparks.router,
    about.router,
    benchmark.router,
)
_DESCRIPTION = """Stores and judges training-stability signals.

Errors are RFC 9457 problems (`application/problem+json`). Numbers that are not finite are the strings
"NaN", "Infinity" and "-Infinity"; `null` means that there is no value."""


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The document, told once for the life of the application."""
        return self.openapi_schema or describe_needs(super().openapi())


def create_app(settings: Settings | None = None, database: Database | None = None) -> FastAPI:
    """The collector as an ASGI application; `database` may be open already, else it is opened at start."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        collector = Collector.open(settings, database)
        app.state.collector = collector
        collector.start()
        pages.pack_bundle()
        try:
            yield
        finally:
            collector.close()

    app = _App(
        title="foreshock collector",
        version=version("foreshock"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        # Both would load their scripts from outside hosts.
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    for router in _ROUTERS:
        app.include_router(router, prefix="/api/v1")
    app.include_router(health.router)
    app.include_router(reports.router)
    pages.install(app)
    # The one added last is asked first.
    app.add_middleware(BodyLimit)
    app.add_middleware(NoteEncodings)
    app.add_middleware(Guard, settings=settings)
    return app

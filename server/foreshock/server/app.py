"""The web application: routes, the guard before them, and what starts and stops with them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from foreshock.server.api import append, problems, runs, series
from foreshock.server.collector import Collector
from foreshock.server.settings import Settings
from foreshock.server.store.engine import Database


def create_app(settings: Settings | None = None, database: Database | None = None) -> FastAPI:
    """The collector as an ASGI application; `database` may be open already, else it is opened at start."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        collector = Collector.open(settings, database)
        app.state.collector = collector
        collector.start()
        try:
            yield
        finally:
            collector.close()

    app = FastAPI(title="foreshock collector", version=version("foreshock"), lifespan=lifespan)
    problems.install(app)
    for router in (runs.router, append.router, series.router):
        app.include_router(router, prefix="/api/v1")
    app.add_middleware(GZipMiddleware, minimum_size=2048, compresslevel=5)
    return app

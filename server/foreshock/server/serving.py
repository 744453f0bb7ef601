"""Runs the collector as a process: binds, opens, announces, serves, and says in one line why it cannot."""

import ctypes
import errno
import json
import logging
import socket
import sys

import uvicorn
from fastapi import FastAPI

from foreshock.server.alerts.switchboard import read_specs
from foreshock.server.collector import open_guarded
from foreshock.server.detection.user_rules import RulesFileError, load_rules
from foreshock.server.errors import StartError
from foreshock.server.settings import Settings, read_settings
from foreshock.server.store.engine import Database
from foreshock.server.vault.move import refuse_unfinished

STOP_SECONDS = 5
# The judge and the compactor compute; with Python's 5 ms each of a request's returns from the system
# could wait so long for them.
SWITCH_SECONDS = 0.0005
LARGE_BLOCK_BYTES = 2**20
# From glibc's malloc.h
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8


class AnnouncedServer(uvicorn.Server):
    """Says where it listens once it does, and ends open event streams before it waits for them."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, announcement: str) -> None:
        super().__init__(config)
        self._app = app
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._announcement, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.collector.bell.close()
        await super().shutdown(sockets)


def run(*, host: str | None, port: int | None, db: str | None, as_json: bool) -> int:
    """Serves until it is told to stop; the exit status."""
    try:
        settings = read_settings(host=host, port=port, db=db)
        read_specs(settings)
        if settings.rules_file is not None:
            load_rules(settings.rules_file)
        listener = _listen(settings)
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        database = open_guarded(settings)
        refuse_unfinished(database)
    except (StartError, RulesFileError) as error:
        print(f"foreshock serve: {error.detail}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("alembic", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return _serve(settings, listener, database, as_json=as_json)


def _listen(settings: Settings) -> socket.socket:
    """A bound socket; raises StartError where the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        raise StartError(_why_not(error, settings)) from error
    return listener


def _why_not(error: OSError, settings: Settings) -> str:
    where = f"{settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use, perhaps by another collector: take another with --port N, or --port 0"
    if error.errno == errno.EACCES:
        return f"{where} needs more rights than this user has: take a port above 1023 with --port N"
    return f"cannot listen on {where}: {error.strerror or error}. Give another address with --host"


def _serve(settings: Settings, listener: socket.socket, database: Database, *, as_json: bool) -> int:
    # Heavy: what keeps the collector from starting has been told before.
    from foreshock.server.app import create_app

    app = create_app(settings, database)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=STOP_SECONDS,
        server_header=False,
    )
    said = {"url": settings.address, "database": database.shown}
    line = f"foreshock collector: {settings.address}  (database {database.shown})"
    announcement = json.dumps(said) if as_json else line
    server = AnnouncedServer(config, app, announcement)
    sys.setswitchinterval(SWITCH_SECONDS)
    _return_large_blocks()
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        return 0
    return 0 if server.started else 1


def _return_large_blocks() -> None:
    """Lets glibc give blocks of a megabyte and more back to the system as soon as they are freed.

    By itself it keeps ever larger ones, up to 32 MiB, for the next that may fit: 302 MiB instead of 263
    after 30 million points. Other C libraries have no such switch and are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        mallopt(_M_ARENA_MAX, 2)

"""Bounds on what a request may send and how long it may pause, kept while it arrives and not after."""

import asyncio
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foreshock.server.api.problems import problem_of
from foreshock.server.errors import TooLargeRequestError
from foreshock.wire import MAX_BODY_BYTES

MAX_JSON_BYTES: Final = 2**20
MAX_FORM_BYTES: Final = 16 * 1024
# A body that pauses for longer will never be whole; what came of it must not be held for ever
MAX_PAUSE_SECONDS: Final = 30.0


class BodyLimit:
    """Stops a body that is too large: by its Content-Length at once, else as soon as it passes the limit.

    Stops also a body of which nothing comes any more.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = _limit(scope["path"])
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdigit() and int(length) > limit:
            await _drain(_timed(receive), 4 * limit)
            await problem_of(TooLargeRequestError(_sentence(length, limit)))(scope, receive, send)
            return
        await self._app(scope, _counted(_timed(receive), limit), send)


def _limit(path: str) -> int:
    """Bytes that a body may have. Anybody may ask for /login."""
    if path == "/login":
        return MAX_FORM_BYTES
    return MAX_BODY_BYTES if path.endswith("/append") else MAX_JSON_BYTES


def _sentence(size: str, limit: int) -> str:
    return f"the body has {size} bytes; at most {limit} are allowed: send less at a time"


async def _drain(receive: Receive, most: int) -> None:
    """Reads and drops, so that a client which sends first and reads then still gets the answer."""
    dropped = 0
    while dropped <= most:
        try:
            message = await receive()
        except HTTPException:
            return
        dropped += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


def _timed(receive: Receive) -> Receive:
    """Waits for the next part of a body for so long; for what comes after it, a disconnect, for ever."""
    is_whole = False

    async def timed() -> Message:
        nonlocal is_whole
        if is_whole:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), MAX_PAUSE_SECONDS)
        except TimeoutError:
            detail = f"nothing more of the body came for {MAX_PAUSE_SECONDS:g} seconds: send it again, whole"
            raise HTTPException(408, detail, {"Connection": "close"}) from None
        is_whole = not message.get("more_body", False)
        return message

    return timed


def _counted(receive: Receive, limit: int) -> Receive:
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            # The one kind of exception that the framework lets through while it reads a body.
            raise HTTPException(413, _sentence(f"more than {limit}", limit))
        return message

    return counted

"""Bounds on what a request may send, kept while it arrives and not after."""

from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foreshock.server.api.problems import problem_of
from foreshock.server.errors import TooLargeRequestError
from foreshock.wire import MAX_BODY_BYTES

MAX_JSON_BYTES: Final = 2**20


class BodyLimit:
    """Stops a body that is too large: by its Content-Length at once, else as soon as it passes the limit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = MAX_BODY_BYTES if scope["path"].endswith("/append") else MAX_JSON_BYTES
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdigit() and int(length) > limit:
            await _drain(receive, 4 * limit)
            await problem_of(TooLargeRequestError(_sentence(length, limit)))(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit), send)


def _sentence(size: str, limit: int) -> str:
    return f"the body has {size} bytes; at most {limit} are allowed: send less at a time"


async def _drain(receive: Receive, most: int) -> None:
    """Reads and drops, so that a client which sends first and reads then still gets the answer."""
    dropped = 0
    while dropped <= most:
        message = await receive()
        dropped += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


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

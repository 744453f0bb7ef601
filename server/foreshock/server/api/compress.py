"""Whether the one who asks takes gzip, known to the thread that builds the answer.

Large answers are compressed there and not on the event loop, which every other request shares.
"""

from contextvars import ContextVar
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

accepts_gzip: Final[ContextVar[bool]] = ContextVar("accepts_gzip", default=False)


class NoteEncodings:
    """Reads Accept-Encoding once for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            accepts_gzip.set("gzip" in Headers(scope=scope).get("accept-encoding", ""))
        await self._app(scope, receive, send)

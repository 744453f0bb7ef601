"""Who may ask at all: a host name of ours, no foreign page, and a token where one is set."""

import hmac
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from foreshock.server.api.problems import problem_of
from foreshock.server.errors import ForbiddenError, UnauthorizedError
from foreshock.server.sessions import COOKIE, Sessions
from foreshock.server.settings import Settings

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ALWAYS_OPEN: Final = frozenset({"/healthz", "/readyz"})
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """Refuses before any route is reached.

    A loopback collector answers only to local names, so that a foreign site which points its own
    name here (DNS rebinding) reads nothing. Requests that change something are refused when a
    browser says that another site sent them.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._names = _LOOPBACK_NAMES | set(settings.allowed_hosts) if settings.is_loopback else None
        self._sessions = Sessions(settings.token.get_secret_value()) if settings.token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        if not self._is_our_name(headers.get("host", "")):
            return problem_of(
                ForbiddenError(
                    f"host {headers.get('host', '')[:100]!r} is none of this collector's names: open it as "
                    "http://127.0.0.1, or name the host in FORESHOCK_ALLOWED_HOSTS"
                )
            )
        if scope["method"] not in _READS and _is_cross_site(headers):
            return problem_of(ForbiddenError("another site's page may not change anything here"))
        if self._sessions is None or path in _ALWAYS_OPEN or path == "/login" or path.startswith("/static/"):
            return None
        return None if self._is_known(headers, self._sessions) else _ask_for_token(scope, headers)

    def _is_our_name(self, host: str) -> bool:
        return self._names is None or _host_name(host) in self._names

    def _is_known(self, headers: Headers, sessions: Sessions) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return sessions.is_token(given.strip())
        return sessions.is_session(cookie_parser(headers.get("cookie", "")).get(COOKIE, ""))


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_cross_site(headers: Headers) -> bool:
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and not hmac.compare_digest(
        _place_of(origin).encode(), headers.get("host", "").lower().encode()
    )


def _place_of(origin: str) -> str:
    """Name and port; nothing, which is no host's, where it is no address at all."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _ask_for_token(scope: Scope, headers: Headers) -> Response:
    path: str = scope["path"]
    if scope["method"] == "GET" and "text/html" in headers.get("accept", "") and not path.startswith("/api/"):
        query = scope["query_string"].decode("latin-1")
        wanted = f"{path}?{query}" if query else path
        return RedirectResponse(f"/login?next={quote(wanted, safe='/')}", 303)
    return problem_of(
        UnauthorizedError(
            "send the header Authorization: Bearer <token> with the collector's FORESHOCK_TOKEN, "
            "or sign in at /login",
            headers={"WWW-Authenticate": 'Bearer realm="foreshock"'},
        )
    )

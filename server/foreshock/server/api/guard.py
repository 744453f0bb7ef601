"""Who may ask at all: a host name of ours, no foreign page, and a token that opens what is asked for."""

import hmac
from typing import Final
from urllib.parse import quote, urlsplit

from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foreshock.server.api.needs import Need, need_of
from foreshock.server.api.problems import problem_of
from foreshock.server.caller import ROOT, Caller
from foreshock.server.callers import Callers
from foreshock.server.errors import (
    ForbiddenError,
    MalformedRequestError,
    RateLimitError,
    StorageError,
    UnauthorizedError,
)
from foreshock.server.rates import Meter
from foreshock.server.sessions import COOKIE
from foreshock.server.settings import Settings

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """Refuses before any route is reached, and tells the routes who asks (`request.state.caller`).

    A loopback collector answers only to local names, so that a foreign site which points its own
    name here (DNS rebinding) reads nothing. Requests that change something are refused when a
    browser says that another site sent them. Tokens come in the Authorization header alone, never in
    an address, which ends up in logs and histories.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._names = _LOOPBACK_NAMES | set(settings.allowed_hosts) if settings.is_loopback else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, need = Headers(scope=scope), need_of(scope["method"], scope["path"])
        answer = self._refusal_of_address(scope, headers)
        if answer is None and need.scope is not None:
            callers: Callers = scope["app"].state.collector.callers
            try:
                caller = await _caller(callers, headers)
                answer = _refusal(scope, headers, need, caller)
                if answer is None and caller is not None:
                    scope.setdefault("state", {})["caller"] = caller
                    receive = _metered(receive, callers.meter(caller))
            except SQLAlchemyError:
                answer = problem_of(
                    StorageError(
                        "tokens cannot be checked while the database does not answer: send again",
                        headers={"Retry-After": "5"},
                    )
                )
            except RateLimitError as error:
                answer = problem_of(error)
        await (answer or self._app)(scope, receive, send)

    def _refusal_of_address(self, scope: Scope, headers: Headers) -> Response | None:
        if self._names is not None and _host_name(headers.get("host", "")) not in self._names:
            return problem_of(
                ForbiddenError(
                    f"host {headers.get('host', '')[:100]!r} is none of this collector's names: open it as "
                    "http://127.0.0.1, or name the host in FORESHOCK_ALLOWED_HOSTS"
                )
            )
        if scope["method"] not in _READS and _is_cross_site(headers):
            return problem_of(ForbiddenError("another site's page may not change anything here"))
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            return problem_of(MalformedRequestError("the address holds a NUL (%00): leave it out"))
        return None


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


async def _caller(callers: Callers, headers: Headers) -> Caller | None:
    """Who asks; None for nobody. An open collector asks for no token, but judges one that is shown."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return await callers.by_secret(given.strip())
    if not callers.is_locked:
        return ROOT
    return await callers.by_session(cookie_parser(headers.get("cookie", "")).get(COOKIE, ""))


def _refusal(scope: Scope, headers: Headers, need: Need, caller: Caller | None) -> Response | None:
    if caller is None:
        return _ask_for_token(scope, headers)
    assert need.scope is not None
    if not caller.may(need.scope):
        return problem_of(
            ForbiddenError(
                f"this needs the scope {need.scope}; the token has {' and '.join(sorted(caller.scopes))}: "
                f"use another, or make one with foreshock token create NAME --scope {need.scope}",
                headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{need.scope}"'},
            )
        )
    if caller.project is not None and not need.by_project:
        return problem_of(
            ForbiddenError(
                f"this is about all projects, and the token opens project {caller.project!r} only: use one "
                "that was made without --project"
            )
        )
    return None


def _metered(receive: Receive, meter: Meter | None) -> Receive:
    """Counts the body as it comes; raises RateLimitError where the token has used up what it may."""
    if meter is None:
        return receive
    meter.admit()

    async def metered() -> Message:
        message = await receive()
        meter.count(len(message.get("body", b"")))
        return message

    return metered


def _ask_for_token(scope: Scope, headers: Headers) -> Response:
    path: str = scope["path"]
    if scope["method"] == "GET" and "text/html" in headers.get("accept", "") and not path.startswith("/api/"):
        query = scope["query_string"].decode("latin-1")
        wanted = f"{path}?{query}" if query else path
        return RedirectResponse(f"/login?next={quote(wanted, safe='/')}", 303)
    is_wrong = headers.get("authorization", "").lower().startswith("bearer")
    said = "this token is wrong, expired or revoked: " if is_wrong else ""
    return problem_of(
        UnauthorizedError(
            f"{said}send the header Authorization: Bearer <token> with FORESHOCK_TOKEN or a token made by "
            "foreshock token create, or sign in at /login",
            headers={"WWW-Authenticate": 'Bearer realm="foreshock"'},
        )
    )

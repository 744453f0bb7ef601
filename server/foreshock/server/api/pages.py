"""The pages, their static files, and signing in."""

import asyncio
import gzip
import hashlib
import inspect
import threading
from contextlib import suppress
from functools import cache
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

from fastapi import APIRouter, FastAPI, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from foreshock.dashboards.errors import MissingPlotlyError
from foreshock.dashboards.pages import STATIC_DIR, plotly_bundle, render
from foreshock.dashboards.pages.bundle import eager
from foreshock.dashboards.pages.files import version
from foreshock.server.callers import Callers
from foreshock.server.sessions import COOKIE, LIFETIME_SECONDS

router = APIRouter(include_in_schema=False)

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
# An address that names a version never changes what it answers.
_LASTING: Final = "public, max-age=31536000, immutable"
WRONG_TOKEN_SECONDS: Final = 0.5


class _Files(StaticFiles):
    """Static files: kept for good under their version, else asked for anew, which their ETag keeps cheap."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file; a version that is not this one's gets this one's file, and is told not to keep it."""
        folder, _, file = path.partition("/")
        if not (folder.startswith("v-") and file):
            return await super().get_response(path, scope)
        answer = await super().get_response(file, scope)
        if folder == version():
            answer.headers["Cache-Control"] = _LASTING
        return answer

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """The file, or 304."""
        answer = super().file_response(*args, **kwargs)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def install(app: FastAPI) -> None:
    """Adds the pages and their files to the application."""
    app.include_router(router)
    app.mount("/static", _Files(directory=STATIC_DIR), name="static")
    otherwise = app.exception_handlers[HTTPException]

    async def show_missing(request: Request, error: Exception) -> Response:
        """A person with a browser gets a page and a way on; programs get the problem as ever."""
        if _is_for_people(request):
            return _page("missing", 404)
        answer = otherwise(request, error)
        told: Response = await answer if inspect.isawaitable(answer) else answer
        return told

    app.add_exception_handler(404, show_missing)


def _is_for_people(request: Request) -> bool:
    takes_html = "text/html" in request.headers.get("accept", "")
    return takes_html and not request.url.path.startswith(("/api/", "/static/"))


def _page(name: str, status: int = 200, **context: Any) -> HTMLResponse:
    return HTMLResponse(render(name, **context), status, _HEADERS)


@router.get("/")
def show_runs() -> HTMLResponse:
    """All runs."""
    return _page("runs")


@router.get("/runs/{run_id}")
def show_run(run_id: str) -> HTMLResponse:
    """One run, live; the page itself says when there is no such run."""
    return _page("run")


@router.get("/runs/{run_id}/layers/{layer}")
def show_layer(run_id: str, layer: str) -> HTMLResponse:
    """One layer of a run, live, against all its layers; the page itself says when there is none such."""
    return _page("layer")


@router.get("/compare")
def show_comparison() -> HTMLResponse:
    """Groups of seeds."""
    return _page("compare")


@router.get("/verdict")
def show_verdict() -> HTMLResponse:
    """Whether training may go on under the constraint."""
    return _page("verdict")


@router.get("/alerts")
def show_alerts() -> HTMLResponse:
    """All alerts."""
    return _page("alerts")


@router.get("/settings")
def show_settings() -> HTMLResponse:
    """Tokens, notifiers, retention, rules, and what the collector is."""
    return _page("settings")


@router.get("/benchmark")
def show_benchmark() -> HTMLResponse:
    """How well the detectors warn, as scored on recorded runs."""
    return _page("benchmark")


@router.get("/login")
def show_login(next_path: Annotated[str, Query(alias="next", max_length=2000)] = "/") -> HTMLResponse:
    """The form that asks for the token."""
    return _page("login", next=local_path(next_path))


@router.post("/login")
async def sign_in(request: Request) -> Response:
    """Exchanges the token for a cookie that is not the token."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    callers: Callers = request.app.state.collector.callers
    target = local_path(form.get("next", ["/"])[0])
    if not callers.is_locked:
        return RedirectResponse(target, 303)
    caller = await callers.by_secret(form.get("token", [""])[0].strip())
    if caller is None:
        await asyncio.sleep(WRONG_TOKEN_SECONDS)
        return _page("login", 401, error="This is no token of this collector, or not any more.", next=target)
    if not caller.may("read"):
        return _page("login", 403, error="This token only sends: use one with the scope read.", next=target)
    answer = RedirectResponse(target, 303)
    answer.set_cookie(
        COOKIE,
        callers.session_for(caller),
        max_age=LIFETIME_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


def local_path(path: str) -> str:
    """The path itself if it leads to this collector, else the first page."""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_local else "/"


_packing: Final = threading.Lock()


def _plotly() -> tuple[bytes, bytes, str]:
    """plotly.js as it is and compressed, once for the life of the process, with its tag."""
    with _packing:
        return _packed_plotly()


@cache
def _packed_plotly() -> tuple[bytes, bytes, str]:
    plain = eager(plotly_bundle().read_bytes())
    return plain, gzip.compress(plain, 6, mtime=0), hashlib.sha256(plain).hexdigest()[:24]


def pack_bundle() -> None:
    """Begins to compress plotly.js, so that the first who looks at a page need not wait for it."""
    threading.Thread(target=_try_to_pack, name="foreshock-bundle", daemon=True).start()


def _try_to_pack() -> None:
    # Who asks for it is told that it is missing
    with suppress(MissingPlotlyError):
        _plotly()


@router.get("/static/plotly.min.js")
def show_plotly(request: Request) -> Response:
    """The plotly.js of the installed plotly package; no outside host is asked."""
    plain, packed, tag = _plotly()
    takes_gzip = "gzip" in request.headers.get("accept-encoding", "")
    headers = {
        "ETag": f'"{tag}{"-gzip" if takes_gzip else ""}"',
        "Cache-Control": _LASTING if "v" in request.query_params else "public, max-age=3600",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if takes_gzip:
        headers["Content-Encoding"] = "gzip"
    return Response(packed if takes_gzip else plain, headers=headers, media_type="text/javascript")

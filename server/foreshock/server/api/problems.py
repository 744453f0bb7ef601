"""Errors as RFC 9457 problems: nothing leaves the API without a type, a title and a detail."""

import logging
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from foreshock.server.errors import (
    InvalidError,
    MalformedRequestError,
    ServerError,
    TooLargeRequestError,
    UnsupportedVersionError,
)
from foreshock.server.nonfinite import encode_json
from foreshock.server.store.engine import storage_error
from foreshock.wire import MalformedError, TooLargeError, VersionError, WireError

MEDIA_TYPE: Final = "application/problem+json"
_CODES: Final = {
    400: "malformed",
    404: "not-found",
    405: "method-not-allowed",
    408: "timeout",
    413: "too-large",
}
_TITLES: Final = {
    400: MalformedRequestError.title,
    404: "There is nothing here",
    405: "This method is not offered here",
    408: "The request did not arrive in time",
    413: TooLargeRequestError.title,
}
# What proxies call a request whose sender has gone; nobody reads it
_CLIENT_HAS_GONE: Final = 499
_log = logging.getLogger(__name__)


def problem(
    code: str, status: int, title: str, detail: str, *, headers: dict[str, str] | None = None, **members: Any
) -> Response:
    """A problem as a response."""
    body = {"type": f"/problems/{code}", "title": title, "status": status, "detail": detail, **members}
    return Response(encode_json(body), status, headers, MEDIA_TYPE)


def problem_of(error: ServerError) -> Response:
    """The problem that a collector error is."""
    return problem(
        error.code, error.status, error.title, error.detail, headers=error.headers, **error.members
    )


def server_error_of(error: WireError) -> ServerError:
    """The collector's error for something that the wire refused."""
    match error:
        case VersionError():
            return UnsupportedVersionError(str(error))
        case TooLargeError():
            return TooLargeRequestError(str(error))
        case MalformedError():
            return MalformedRequestError(str(error))
    return InvalidError(str(error))


def install(app: FastAPI) -> None:
    """Makes every error of the application a problem."""
    app.add_exception_handler(ServerError, _on_server_error)
    app.add_exception_handler(WireError, _on_wire_error)
    app.add_exception_handler(SQLAlchemyError, _on_database_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_unexpected)


async def _on_server_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServerError)
    return problem_of(error)


async def _on_wire_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, WireError)
    return problem_of(server_error_of(error))


async def _on_database_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, SQLAlchemyError)
    _log.error("the database refused: %s", error)
    return problem_of(storage_error(error))


async def _on_disconnect(request: Request, _: Exception) -> Response:
    """A client that leaves in the middle of its body is no fault of anybody here."""
    _log.debug("the client of %s %s left before its body was whole", request.method, request.url.path)
    return Response(status_code=_CLIENT_HAS_GONE)


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = error.errors()
    if errors[0]["type"] == "json_invalid":
        return problem_of(InvalidError(_where_json_breaks(errors[0], str(error.body))))
    if isinstance(error.body, bytes) and any(item["loc"] == ("body",) for item in errors):
        given = request.headers.get("content-type", "")[:100]
        return problem_of(
            InvalidError(f"the body came as {given!r} and was not read: send Content-Type: application/json")
        )
    return problem_of(InvalidError("; ".join(_sentence(item) for item in errors[:5])))


def _where_json_breaks(item: dict[str, Any], text: str) -> str:
    position = item["loc"][-1]
    line, column = text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
    return (
        f"the body is no JSON: {item['ctx']['error']} at line {line}, column {column}: send one JSON object, "
        "as /api/v1/openapi.json describes it"
    )


def _sentence(item: dict[str, Any]) -> str:
    """One violation: where, what is allowed, and the beginning of what was given."""
    where = ".".join(str(part) for part in item["loc"][1:]) or "the body"
    given = _shown(item.get("input"))
    shown = given if len(given) <= 60 else f"{given[:60]}.. ({len(given)} characters)"
    return f"{where}: {item['msg']}; given {shown}"


def _shown(given: Any) -> str:
    try:
        return repr(given)
    except RecursionError:
        return "something nested too deeply to be shown"


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "http-error")
    headers = dict(error.headers or {})
    title = _TITLES.get(error.status_code, HTTPStatus(error.status_code).phrase)
    return problem(code, error.status_code, title, _detail(error), headers=headers)


def _detail(error: HTTPException) -> str:
    """The framework's own word, or what it keeps to itself of a body that it could not read."""
    match error.__cause__:
        case RecursionError():
            return "the body's JSON is nested too deeply to be read: send it flatter"
        case UnicodeDecodeError() as cause:
            return f"the body is no UTF-8 text: {cause.reason} at byte {cause.start}: send JSON as UTF-8"
    return str(error.detail)


async def _on_unexpected(request: Request, error: Exception) -> Response:
    _log.error("unexpected error at %s %s", request.method, request.url.path, exc_info=error)
    detail = "this is a fault of the collector; its log says more"
    return problem("internal", 500, ServerError.title, detail)

"""Errors as RFC 9457 problems: nothing leaves the API without a type, a title and a detail."""

import logging
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
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
_CODES: Final = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 400: "malformed"}
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


async def _on_invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_of(InvalidError("; ".join(_sentence(item) for item in error.errors()[:5])))


def _sentence(item: dict[str, Any]) -> str:
    """One violation: where, what is allowed, and the beginning of what was given."""
    where = ".".join(str(part) for part in item["loc"][1:]) or "the body"
    given = repr(item.get("input"))
    shown = given if len(given) <= 60 else f"{given[:60]}.. ({len(given)} characters)"
    return f"{where}: {item['msg']}; given {shown}"


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "http-error")
    headers = dict(error.headers or {})
    return problem(code, error.status_code, _title(error), str(error.detail), headers=headers)


def _title(error: HTTPException) -> str:
    titles = {404: "There is nothing here", 405: "This method is not offered here"}
    return titles.get(error.status_code, str(error.detail))


async def _on_unexpected(request: Request, error: Exception) -> Response:
    _log.error("unexpected error at %s %s", request.method, request.url.path, exc_info=error)
    detail = "this is a fault of the collector; its log says more"
    return problem("internal", 500, ServerError.title, detail)

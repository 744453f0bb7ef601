"""Requests that never become whole, or cannot be read: answered in words, and no fault in the log."""

import asyncio
import json
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer

from foreshock.server.api import limits


async def ask(http: TestClient, path: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What the application sends to a client that sends these messages and then nothing."""
    sent: list[dict[str, Any]] = []
    coming = iter(messages)

    async def receive() -> dict[str, Any]:
        for message in coming:
            return message
        await asyncio.sleep(3600)
        return {}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "scheme": "http",
        "server": ("127.0.0.1", 8787),
        "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"127.0.0.1:8787"), (b"content-type", b"application/json")],
    }
    await http.app(scope, receive, send)  # type: ignore[arg-type]
    return sent


PART = {"type": "http.request", "body": b'{"run', "more_body": True}


@pytest.mark.parametrize("path", ["/api/v1/runs/run-1/append", "/api/v1/runs"])
def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_fault(
    http: TestClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    assert http.portal is not None
    http.portal.call(ask, http, path, PART, {"type": "http.disconnect"})
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize("path", ["/api/v1/runs/run-1/append", "/api/v1/runs"])
def test_a_body_of_which_nothing_comes_any_more_is_ended(
    http: TestClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(limits, "MAX_PAUSE_SECONDS", 0.05)
    assert http.portal is not None
    start, end = http.portal.call(ask, http, path, PART)
    told = json.loads(end["body"])
    assert start["status"] == 408 and told["type"] == "/problems/timeout"
    assert (b"connection", b"close") in start["headers"]
    assert "send it again" in told["detail"]


def test_a_chunked_body_that_is_too_large_has_title_and_detail(http: TestClient, problem: Problem) -> None:
    told = problem(http.post("/api/v1/runs", content=iter([b"x" * 2**20] * 2)), 413, "too-large")
    assert told["title"] == "The request is too large" and "more than 1048576 bytes" in told["detail"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"run_id": "\xff"}', "no UTF-8 text: invalid start byte at byte 12"),
    ],
)
def test_json_that_cannot_be_read_says_where_and_what_to_send(
    http: TestClient, problem: Problem, content: bytes, words: str
) -> None:
    headers = {"Content-Type": "application/json"}
    told = problem(http.post("/api/v1/runs", content=content, headers=headers), 400, "malformed")
    assert words in told["detail"] and told["title"] == "The request cannot be read"


def test_broken_json_says_where_it_breaks(http: TestClient, problem: Problem) -> None:
    headers = {"Content-Type": "application/json"}
    told = problem(http.post("/api/v1/runs", content=b'{"run_id":\n "a",', headers=headers), 422, "invalid")
    assert "at line 2, column 6" in told["detail"] and "openapi.json" in told["detail"]


def test_json_under_another_content_type_says_which_to_send(http: TestClient, problem: Problem) -> None:
    said = json.dumps({"run_id": "a", "project": "p", "name": "n"})
    told = problem(
        http.post("/api/v1/runs", content=said, headers={"Content-Type": "text/plain"}), 422, "invalid"
    )
    assert "'text/plain'" in told["detail"] and "application/json" in told["detail"]


def test_what_a_run_lacks_is_named(http: TestClient, writer: Writer, problem: Problem) -> None:
    writer.start("loss")
    writer.send(writer.batch([0], [1.0]))
    path = "/api/v1/runs/run-1"
    answer = http.get(f"{path}/series", params={"column": ["loss", "nope"]}).json()
    assert answer["unknown"] == ["nope"] and len(answer["series"]) == 1
    for query in ({"column": "loss"}, {"series": "layer_amax_forward_max"}):
        route = "series" if "column" in query else "map"
        told = problem(http.get(f"{path}/{route}", params={**query, "attempt": 77}), 404, "unknown-attempt")
        assert "no attempt 77; its newest is 0" in told["detail"]

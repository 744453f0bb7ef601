"""Who may ask: names, foreign pages, tokens, signing in."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer

from foreshock.server.api.pages import local_path
from foreshock.server.app import create_app
from foreshock.server.sessions import Sessions
from foreshock.server.settings import Settings

TOKEN = "a long random word"


@pytest.mark.parametrize("host", ["127.0.0.1:8787", "localhost", "LOCALHOST:1", "[::1]:8787"])
def test_a_loopback_collector_answers_to_local_names(http: TestClient, host: str) -> None:
    assert http.get("/api/v1/runs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "localhost@evil.example"]
)
def test_a_foreign_name_that_points_here_reads_nothing(http: TestClient, problem: Problem, host: str) -> None:
    problem(http.get("/api/v1/runs", headers={"Host": host}), 403, "forbidden")


def test_other_names_may_be_allowed(settings: Settings) -> None:
    named = settings.model_copy(update={"allowed_hosts": ("box.lan",)})
    with TestClient(create_app(named), base_url="http://box.lan:8787") as client:
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://127.0.0.1:9999"},
    ],
)
def test_a_foreign_page_cannot_post(
    http: TestClient, writer: Writer, problem: Problem, headers: dict[str, str]
) -> None:
    problem(http.post("/api/v1/runs", json={}, headers=headers), 403, "forbidden")


def test_our_own_page_and_programs_can_post(http: TestClient) -> None:
    said = {"run_id": "a", "project": "p", "name": "n"}
    ours = {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8787"}
    assert http.post("/api/v1/runs", json=said, headers=ours).status_code == 200
    assert http.post("/api/v1/runs", json=said).status_code == 200


@pytest.fixture
def locked(tmp_path: Path):
    """A collector with a token, reachable from everywhere."""
    settings = Settings(db=str(tmp_path / "locked.db"), host="0.0.0.0", token=TOKEN)
    with TestClient(create_app(settings), base_url="http://box.example", follow_redirects=False) as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/api/v1/runs", "/metrics", "/api/v1/events", "/", "/api/v1/openapi.json", "/nothing"]
)
def test_nothing_is_told_without_the_token(locked: TestClient, problem: Problem, path: str) -> None:
    told = problem(locked.get(path), 401, "unauthorized")
    assert "FORESHOCK_TOKEN" in told["detail"]
    for wrong in (f"Bearer {TOKEN}x", "Bearer", "Basic YTpi", f"bearer {TOKEN.upper()}", "Bearer \xe9"):
        problem(locked.get(path, headers={"Authorization": wrong.encode("latin-1")}), 401, "unauthorized")


def test_the_token_opens_everything_and_health_needs_none(locked: TestClient) -> None:
    assert locked.get("/healthz").status_code == locked.get("/readyz").status_code == 200
    for path in ("/api/v1/runs", "/metrics", "/"):
        assert locked.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def sign_in(client: TestClient, token: str, target: str = "/compare?column=loss") -> httpx.Response:
    return client.post("/login", data={"token": token, "next": target})


def test_a_browser_is_led_to_the_form_and_back(locked: TestClient) -> None:
    led = locked.get("/compare?column=loss", headers={"Accept": "text/html"})
    assert led.status_code == 303
    form = locked.get(led.headers["location"])
    assert form.status_code == 200 and 'value="/compare?column=loss"' in form.text
    answer = sign_in(locked, TOKEN)
    assert answer.status_code == 303 and answer.headers["location"] == "/compare?column=loss"
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie and "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    assert locked.get("/compare").status_code == 200
    assert locked.get("/api/v1/runs").status_code == 200


def test_a_wrong_token_signs_no_one_in(locked: TestClient, problem: Problem) -> None:
    answer = sign_in(locked, "guess")
    assert (
        answer.status_code == 401
        and "no token of this collector" in answer.text
        and "set-cookie" not in answer.headers
    )
    problem(locked.get("/api/v1/runs"), 401, "unauthorized")


@pytest.mark.parametrize(
    "value",
    ["", ".", "..", "root.9999999999.", "root.9999999999.00", "x.y", "a.b.c.d", "root.\xe9.\xe9", TOKEN],
)
def test_a_made_up_session_is_none(value: Any) -> None:
    assert Sessions(TOKEN).read(value) is None


def test_sessions_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(TOKEN)
    issued = sessions.issue("root")
    assert sessions.read(issued) == Sessions(TOKEN).read(issued) == "root"
    assert Sessions("another token").read(issued) is None
    assert sessions.read(issued.replace("root", "3f9c")) is None
    monkeypatch.setattr("foreshock.server.sessions.time.time", lambda: 1e11)
    assert sessions.read(issued) is None


def test_without_a_root_token_no_other_process_takes_a_session() -> None:
    sessions = Sessions(None)
    issued = sessions.issue("3f9c")
    assert sessions.read(issued) == "3f9c" and Sessions(None).read(issued) is None


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\nb", ""])
def test_signing_in_leads_nowhere_else(path: str) -> None:
    assert local_path(path) == "/"

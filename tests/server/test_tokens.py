"""Tokens: made and ended by API and command, their limits, and nothing of them in any log."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from tests.server.conftest import CollectorProcess, Problem, Writer

from foreshock.server import callers
from foreshock.server.app import create_app
from foreshock.server.caller import Limits
from foreshock.server.errors import RateLimitError, TooManyTokensError
from foreshock.server.rates import Meter
from foreshock.server.sessions import COOKIE
from foreshock.server.settings import Settings
from foreshock.server.store import tokens as stored
from foreshock.server.store.engine import open_database
from foreshock.server.store.schema import runs
from foreshock.server.store.tokens import NewToken, create_token, digest_of, list_tokens, revoke_token

ROOT = "the root token"
BOTH = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


@pytest.fixture
def locked(backend: str) -> Iterator[TestClient]:
    """A collector that asks for tokens; its client carries none."""
    app = create_app(Settings(db=backend, token=ROOT, host="0.0.0.0"))
    with TestClient(app, base_url="http://box", follow_redirects=False) as client:
        yield client


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def make(client: TestClient, *scopes: str, **said: Any) -> dict[str, Any]:
    body = {"name": "a token", "scopes": list(scopes), **said}
    answer = client.post("/api/v1/tokens", json=body, headers=bearer(ROOT))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def writer_with(client: TestClient, secret: str, run_id: str = "run-1") -> Writer:
    """A writer that carries the token; the client carries it from then on."""
    client.headers["Authorization"] = f"Bearer {secret}"
    return Writer(client, run_id)


@BOTH
def test_a_token_is_told_once_and_ends_when_it_is_revoked(locked: TestClient, problem: Problem) -> None:
    made = make(locked, "read", "ingest", project="p", expires_in_seconds=60, max_runs=3)
    secret = made.pop("token")
    assert secret.startswith("fsk_") and len(secret) >= 43
    assert made["scopes"] == ["ingest", "read"] and made["state"] == "live" and made["max_runs"] == 3
    assert 59 < made["expires_at"] - made["created_at"] < 61
    listed = locked.get("/api/v1/tokens", headers=bearer(ROOT))
    assert listed.json() == {"tokens": [made]} and listed.headers["cache-control"] == "no-store"
    assert locked.get("/api/v1/runs", headers=bearer(secret)).status_code == 200
    path = f"/api/v1/tokens/{made['token_id']}"
    ended = locked.delete(path, headers=bearer(ROOT)).json()
    assert ended["state"] == "revoked" and locked.delete(path, headers=bearer(ROOT)).json() == ended
    problem(locked.get("/api/v1/runs", headers=bearer(secret)), 401, "unauthorized")
    problem(locked.delete("/api/v1/tokens/none", headers=bearer(ROOT)), 404, "unknown-token")


@BOTH
def test_only_the_digest_is_stored(locked: TestClient) -> None:
    secret = make(locked, "read")["token"]
    engine: sa.Engine = locked.app.state.collector.engine  # type: ignore[attr-defined]
    with engine.connect() as connection:
        (row,) = connection.execute(sa.text("SELECT * FROM tokens")).mappings()
    assert row["digest"] == digest_of(secret) and secret not in repr(dict(row))
    # Whoever can read the database must not be able to get in with what stands there
    for guess in (row["digest"], row["token_id"], ""):
        assert locked.get("/api/v1/runs", headers=bearer(guess)).status_code == 401
        assert locked.get("/api/v1/runs", headers={"Cookie": f"{COOKIE}={guess}"}).status_code == 401


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"scopes": []}, "at least 1"),
        ({"scopes": ["root"]}, "'ingest', 'read' or 'admin'"),
        ({"name": ""}, "at least 1"),
        ({"name": "a\nb"}, "pattern"),
        ({"expires_in_seconds": 0}, "greater than 0"),
        ({"expires_in_seconds": 1e300}, "less than or equal"),
        ({"max_runs": 0}, "greater than or equal to 1"),
        ({"max_runs": 2**40}, "less than or equal"),
        ({"max_bytes_per_second": -1}, "greater than 0"),
        ({"token": "mine"}, "Extra inputs"),
    ],
)
def test_what_no_token_can_be_is_told(http: TestClient, problem: Problem, said: Any, word: str) -> None:
    answer = http.post("/api/v1/tokens", json={"name": "n", "scopes": ["read"], **said})
    assert word in problem(answer, 422, "invalid")["detail"]


def test_an_admin_of_one_project_makes_and_ends_tokens_of_it_only(
    locked: TestClient, problem: Problem
) -> None:
    mine = bearer(make(locked, "admin", project="mine")["token"])
    of_other = make(locked, "read", project="other")
    made = locked.post("/api/v1/tokens", json={"name": "n", "scopes": ["admin"]}, headers=mine).json()
    assert made["project"] == "mine"
    asked = {"name": "n", "scopes": ["read"], "project": "other"}
    problem(locked.post("/api/v1/tokens", json=asked, headers=mine), 403, "forbidden")
    problem(locked.delete(f"/api/v1/tokens/{of_other['token_id']}", headers=mine), 404, "unknown-token")
    assert locked.get("/api/v1/runs", headers=bearer(of_other["token"])).status_code == 200


def test_there_is_a_bound_on_live_tokens(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MAX_LIVE_TOKENS", 2)
    with open_database(backend) as database:
        first, _ = create_token(database.engine, NewToken(name="a", scopes=["read"]))
        create_token(database.engine, NewToken(name="b", scopes=["read"]))
        with pytest.raises(TooManyTokensError, match="revoke"):
            create_token(database.engine, NewToken(name="c", scopes=["read"]))
        revoke_token(database.engine, first.token_id)
        create_token(database.engine, NewToken(name="c", scopes=["read"]))


@BOTH
def test_a_token_that_ends_elsewhere_ends_here(locked: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(locked, "read")
    clock = [time.monotonic()]
    monkeypatch.setattr(callers.time, "monotonic", lambda: clock[0])
    assert locked.get("/api/v1/runs", headers=bearer(made["token"])).status_code == 200
    # As another collector on the same database, or the command, would
    revoke_token(locked.app.state.collector.engine, made["token_id"])  # type: ignore[attr-defined]
    clock[0] += callers.FRESH_SECONDS
    assert locked.get("/api/v1/runs", headers=bearer(made["token"])).status_code == 401


def test_tokens_are_read_once_a_second_whoever_asks(
    locked: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = make(locked, "ingest")["token"]
    reads: list[float] = []
    clock = [time.monotonic()]
    monkeypatch.setattr(callers.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(
        callers, "live_tokens", lambda engine: reads.append(clock[0]) or stored.live_tokens(engine)
    )
    writer = writer_with(locked, secret).start()
    for step in range(20):
        assert writer.send(writer.batch([step], [1.0])).status_code == 200
        assert locked.get("/api/v1/runs", headers=bearer(f"fsk_guess{step}")).status_code == 401
    assert len(reads) == 1
    clock[0] += callers.FRESH_SECONDS
    writer.send()
    assert len(reads) == 2


def test_a_database_that_does_not_answer_opens_to_the_root_token_only(
    locked: TestClient, monkeypatch: pytest.MonkeyPatch, problem: Problem
) -> None:
    secret = make(locked, "read")["token"]

    def fail(_: Any) -> Any:
        raise sa.exc.OperationalError("SELECT", {}, Exception("no connection"))

    with monkeypatch.context() as patched:
        patched.setattr(callers, "live_tokens", fail)
        for given in (secret, "fsk_guess"):
            told = problem(locked.get("/", headers=bearer(given)), 503, "storage-unavailable")
            assert given not in told["detail"]
        assert locked.get("/", headers=bearer(ROOT)).status_code == 200
    assert locked.get("/", headers=bearer(secret)).status_code == 200


@BOTH
def test_uses_are_noted_when_the_collector_stops_and_each_minute(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "NOTE_SECONDS", 0.01)
    with TestClient(create_app(Settings(db=backend)), base_url="http://127.0.0.1") as client:
        made = client.post("/api/v1/tokens", json={"name": "n", "scopes": ["read"]}).json()
        begun = time.time()
        assert client.get("/api/v1/runs", headers=bearer(made["token"])).status_code == 200
        while (listed := client.get("/api/v1/tokens").json()["tokens"][0])["last_used_at"] is None:
            time.sleep(0.01)
        assert listed["last_used_at"] >= begun
        monkeypatch.setattr(callers, "NOTE_SECONDS", 1000.0)
        time.sleep(0.05)
        client.get("/api/v1/runs", headers=bearer(made["token"]))
    with open_database(backend) as database:
        (token,) = list_tokens(database.engine)
    assert token.last_used_at is not None and token.last_used_at > listed["last_used_at"]


def test_an_open_collector_asks_for_no_token_but_judges_one_that_is_shown(
    http: TestClient, problem: Problem
) -> None:
    made = http.post("/api/v1/tokens", json={"name": "n", "scopes": ["read"]}).json()
    said = {"run_id": "a", "project": "p", "name": "n"}
    assert http.post("/api/v1/runs", json=said).status_code == 200
    problem(http.post("/api/v1/runs", json=said, headers=bearer(made["token"])), 403, "forbidden")
    problem(http.get("/api/v1/runs", headers=bearer("another")), 401, "unauthorized")
    # Cookies are shared by all ports of a host: one of another collector says nothing here
    assert http.get("/api/v1/runs", headers={"Cookie": f"{COOKIE}=x.1.y"}).status_code == 200


def sign_in(client: TestClient, secret: str) -> httpx.Response:
    return client.post("/login", data={"token": secret, "next": "/"})


def test_a_browser_signs_in_with_a_token_and_is_out_when_it_ends(locked: TestClient) -> None:
    made = make(locked, "read", project="mine")
    answer = sign_in(locked, made["token"])
    assert answer.status_code == 303 and made["token"] not in answer.headers["set-cookie"]
    assert locked.get("/").status_code == 200
    assert locked.get("/api/v1/runs?project=other").status_code == 403
    assert locked.get("/metrics").status_code == 403
    locked.delete(f"/api/v1/tokens/{made['token_id']}", headers=bearer(ROOT))
    assert locked.get("/api/v1/runs").status_code == 401
    assert locked.get("/", headers={"Accept": "text/html"}).headers["location"] == "/login?next=/"


def test_a_session_ends_with_its_tokens_life(locked: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in(locked, make(locked, "admin", expires_in_seconds=100)["token"])
    assert locked.get("/api/v1/tokens").status_code == 200
    now = time.time()
    monkeypatch.setattr(stored.time, "time", lambda: now + 101)
    assert locked.get("/api/v1/tokens").status_code == 401


def test_a_token_that_only_sends_signs_no_one_in(locked: TestClient) -> None:
    answer = sign_in(locked, make(locked, "ingest")["token"])
    assert answer.status_code == 403 and "set-cookie" not in answer.headers and "only sends" in answer.text


def test_an_allowance_refills_and_is_overdrawn_once() -> None:
    now = [100.0]
    meter = Meter(Limits(max_requests_per_second=2, max_bytes_per_second=1000), lambda: now[0])
    meter.admit()
    meter.admit()
    with pytest.raises(RateLimitError, match="2 requests a second") as refused:
        meter.admit()
    assert refused.value.headers["Retry-After"] == "1"
    now[0] += 0.5
    meter.admit()
    meter.count(3500)
    now[0] += 2.4
    with pytest.raises(RateLimitError, match="1000 bytes a second: send again in 1 seconds"):
        meter.admit()
    now[0] += 0.2
    meter.admit()
    now[0] += 3600
    meter.admit()
    meter.admit()
    with pytest.raises(RateLimitError):
        meter.admit()


def test_a_slow_token_waits_for_long() -> None:
    meter = Meter(Limits(max_requests_per_second=0.01), lambda: 0.0)
    meter.admit()
    with pytest.raises(RateLimitError) as refused:
        meter.admit()
    assert refused.value.headers["Retry-After"] == "100"


def test_too_many_requests_and_bytes_are_refused_for_that_token_only(
    locked: TestClient, problem: Problem
) -> None:
    slow = make(locked, "read", "ingest", max_requests_per_second=0.001)["token"]
    other = make(locked, "read")["token"]
    assert locked.get("/api/v1/runs", headers=bearer(slow)).status_code == 200
    answer = locked.get("/api/v1/runs", headers=bearer(slow))
    assert "0.001 requests" in problem(answer, 429, "rate-limited")["detail"]
    assert int(answer.headers["retry-after"]) > 900
    assert locked.get("/api/v1/runs", headers=bearer(other)).status_code == 200
    narrow = make(locked, "ingest", max_bytes_per_second=0.5)["token"]
    writer = writer_with(locked, narrow)
    assert writer.declare().status_code == 200
    problem(writer.declare(), 429, "rate-limited")


@BOTH
def test_a_token_declares_so_many_runs(locked: TestClient, problem: Problem) -> None:
    secret = make(locked, "ingest", max_runs=2)["token"]
    for number in range(2):
        writer_with(locked, secret, f"run-{number}").start()
    third = writer_with(locked, secret, "run-2")
    assert "has declared 2 runs and may declare 2" in problem(third.declare(), 409, "too-many-runs")["detail"]
    # Those that are there go on
    assert writer_with(locked, secret, "run-0").declare().status_code == 200
    assert writer_with(locked, ROOT, "run-3").declare().status_code == 200
    with locked.app.state.collector.engine.connect() as connection:  # type: ignore[attr-defined]
        noted = connection.execute(sa.select(runs.c.run_id).where(runs.c.token_id.is_not(None))).scalars()
        assert sorted(noted) == ["run-0", "run-1"]


@BOTH
def test_two_runs_at_once_do_not_pass_the_limit(locked: TestClient) -> None:
    locked.headers.update(bearer(make(locked, "ingest", max_runs=3)["token"]))
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(Writer(locked, f"run-{n}").declare().status_code))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] * 3 + [409] * 5


def test_a_writer_declares_so_many_series(locked: TestClient, problem: Problem) -> None:
    writer = writer_with(locked, make(locked, "ingest", max_series=3)["token"]).start("a", "b")
    body = writer.body(writer.layout("c", "d", layout_id=1, stream="more"))
    told = problem(writer.post(body), 422, "too-many-series")
    assert "has 4 series; at most 3 are allowed" in told["detail"]
    writer.next_sequence -= 1
    assert writer.send(writer.layout("c", layout_id=1, stream="more")).status_code == 200
    assert writer.send(writer.batch([0], [[1.0, 2.0]])).status_code == 200


def test_no_writer_declares_a_million_series(backend: str, problem: Problem) -> None:
    with TestClient(create_app(Settings(db=backend)), base_url="http://127.0.0.1") as client:
        writer = Writer(client).start()
        for number in range(1, 3):
            names = [f"c{number}.{column}" for column in range(60_000)]
            answer = writer.send(writer.layout(*names, layout_id=number))
        told = problem(answer, 422, "too-many-series")
    assert "has 120001 series; at most 100000 are allowed" in told["detail"]


def events_of(url: str, secret: str, seen: list[str]) -> threading.Thread:
    """Reads the event stream until it ends."""

    def read() -> None:
        with httpx.stream("GET", f"{url}/api/v1/events", headers=bearer(secret), timeout=60) as stream:
            seen.extend(line for line in stream.iter_lines() if line)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def test_an_event_stream_keeps_to_its_project_and_ends_with_its_token(
    start_collector: Callable[..., CollectorProcess], tmp_path: Path
) -> None:
    environment = {"FORESHOCK_TOKEN": ROOT}
    url = start_collector("--port", "0", "--db", str(tmp_path / "a.db"), environment=environment).url()
    seen: dict[str, list[str]] = {"mine": [], "all": []}
    with httpx.Client(base_url=url, headers=bearer(ROOT), timeout=30) as client:
        made = {
            name: client.post("/api/v1/tokens", json={"name": name, "scopes": ["read"], **said}).json()
            for name, said in (("mine", {"project": "mine"}), ("all", {}))
        }
        readers = [events_of(url, made[name]["token"], seen[name]) for name in seen]
        while not all(seen.values()):
            time.sleep(0.01)
        Writer(client, "run-of-other").declare(project="other")
        Writer(client, "run-of-mine").declare(project="mine")
        while not all("run-of-mine" in "".join(lines) for lines in seen.values()):
            time.sleep(0.01)
        for name in made:
            client.delete(f"/api/v1/tokens/{made[name]['token_id']}")
        Writer(client, "run-after").declare(project="mine")
        for reader in readers:
            reader.join(60)
            assert not reader.is_alive()
    assert "run-of-other" in "".join(seen["all"]) and "run-of-other" not in "".join(seen["mine"])
    assert "run-after" not in "".join(seen["all"] + seen["mine"])

"""`foreshock token`, and what a collector's process does with tokens."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.server.conftest import CollectorProcess, Writer
from tests.server.test_tokens import ROOT, bearer

from foreshock.server.sessions import COOKIE
from foreshock.server.store.engine import open_database
from foreshock.server.store.tokens import NewToken, create_token, digest_of


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from foreshock.server.token_commands import token; token()", *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin", "COLUMNS": "200", **environment},
        check=False,
    )


def test_the_command_works_on_a_database_that_no_collector_has(tmp_path: Path) -> None:
    db = str(tmp_path / "a.db")
    made = command("create", "ci", "--scope", "ingest", "--expires", "30d", "--max-runs", "5", "--db", db)
    secret = made.stdout.strip()
    assert made.returncode == 0 and secret.startswith("fsk_") and secret not in made.stderr
    assert "at most 5 runs" in made.stderr
    listed = json.loads(command("list", "--json", FORESHOCK_DB=db).stdout)["tokens"]
    assert [(one["name"], one["scopes"], one["max_runs"]) for one in listed] == [("ci", ["ingest"], 5)]
    assert 30 * 86_400 - 60 < listed[0]["expires_at"] - time.time() < 30 * 86_400
    shown = command("list", "--db", db).stdout
    assert listed[0]["token_id"] in shown and secret not in shown
    ended = json.loads(command("revoke", listed[0]["token_id"], "--db", db, "--json").stdout)
    assert ended["state"] == "revoked"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "x", "--scope", "root"], "'ingest', 'read' or 'admin'; given 'root'"),
        (["create", "x", "--scope", "read", "--expires", "30"], "such as 30d"),
        (["revoke", "none"], "foreshock token list"),
        (["list", "--db", "/no/such/folder/a.db"], "folder that exists"),
        (["list", "--url", "http://127.0.0.1:1"], "cannot be reached"),
        (["list", "--url", "nonsense"], "cannot be reached"),
    ],
)
def test_what_the_command_cannot_do_is_one_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    told = command(*arguments, FORESHOCK_DB=str(tmp_path / "a.db"))
    assert told.returncode == 2 and told.stdout == ""
    assert told.stderr.startswith("foreshock token: ") and told.stderr.count("\n") == 1, told.stderr
    assert words in told.stderr


def test_the_command_asks_a_collector_that_has_the_file(
    start_collector: Callable[..., CollectorProcess], tmp_path: Path
) -> None:
    db = str(tmp_path / "a.db")
    url = start_collector("--port", "0", "--db", db, environment={"FORESHOCK_TOKEN": ROOT}).url()
    told = command("create", "x", "--scope", "read", "--db", db)
    assert told.returncode == 2 and "--url" in told.stderr and "FORESHOCK_TOKEN" in told.stderr
    refused = command("list", "--url", url)
    assert refused.returncode == 2 and "(401)" in refused.stderr
    environment = {"FORESHOCK_URL": url, "FORESHOCK_TOKEN": ROOT}
    made = json.loads(command("create", "x", "--scope", "read", "--json", **environment).stdout)
    assert httpx.get(f"{url}/api/v1/runs", headers=bearer(made["token"])).status_code == 200
    assert command("revoke", made["token_id"], **environment).returncode == 0
    assert httpx.get(f"{url}/api/v1/runs", headers=bearer(made["token"])).status_code == 401


def test_a_reachable_collector_starts_on_a_database_with_an_admin_token(
    start_collector: Callable[..., CollectorProcess], tmp_path: Path
) -> None:
    db = str(tmp_path / "a.db")
    arguments = ("--host", "0.0.0.0", "--port", "0", "--db", db)
    _, told = start_collector(*arguments).failure()
    assert "foreshock token create" in told and not Path(db).exists()
    with open_database(db) as database:
        create_token(database.engine, NewToken(name="r", scopes=["read"]))
        create_token(database.engine, NewToken(name="p", scopes=["admin"], project="p"))
        create_token(database.engine, NewToken(name="e", scopes=["admin"], expires_in_seconds=1e-6))
    assert start_collector(*arguments).failure()[0] == 2
    with open_database(db) as database:
        _, secret = create_token(database.engine, NewToken(name="a", scopes=["admin"]))
    url = start_collector(*arguments).url().replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{url}/api/v1/runs").status_code == 401
    assert httpx.get(f"{url}/api/v1/tokens", headers=bearer(secret)).status_code == 200


def test_no_token_stands_in_the_log_or_the_file(
    start_collector: Callable[..., CollectorProcess], tmp_path: Path
) -> None:
    db = tmp_path / "a.db"
    collector = start_collector("--port", "0", "--db", str(db), environment={"FORESHOCK_TOKEN": ROOT})
    url = collector.url()
    with httpx.Client(base_url=url, timeout=30) as client:
        made = client.post(
            "/api/v1/tokens", json={"name": "n", "scopes": ["admin"]}, headers=bearer(ROOT)
        ).json()
        secret = made["token"]
        for given in (secret, ROOT, f"{secret}x", f"wrong {secret}"):
            for path in ("/api/v1/runs", "/nothing", f"/api/v1/runs?token={secret}", "/api/v1/tokens"):
                client.get(path, headers=bearer(given))
            client.post("/login", data={"token": given})
            client.post("/api/v1/runs", content=given.encode(), headers=bearer(given))
            client.post("/api/v1/runs/x/append", content=given.encode(), headers=bearer(given))
        cookie = client.cookies[COOKIE]
        assert client.get("/api/v1/runs").status_code == 200
        # An alert is logged, so that an empty log is no proof by accident
        writer = Writer(client, "run-1").start("loss")
        writer.send(writer.batch(range(40), np.full(40, np.nan)))
        assert collector.process.stderr is not None
        log = [collector.process.stderr.readline()]
        while "nonfinite" not in log[-1]:
            log.append(collector.process.stderr.readline())
    collector.process.terminate()
    told = "".join((*log, *collector.process.communicate(timeout=30)))
    for word in (secret, secret.removeprefix("fsk_"), ROOT, cookie, digest_of(secret)):
        assert word not in told
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in held and ROOT.encode() not in held
    with sqlite3.connect(db) as connection:
        (stored_digest,) = connection.execute("SELECT digest FROM tokens").fetchone()
    connection.close()
    assert stored_digest == digest_of(secret)

"""Notifiers over HTTP and on the command line: listed, counted, tried out."""

import json
import os
import subprocess
import sys

import httpx
import pytest
from starlette.testclient import TestClient

from foreshock.server.app import create_app
from foreshock.server.settings import Settings
from foreshock.server.store.alerts import write_transitions

SECRET = "Xq7sEcReT9zT0kEn"


@pytest.fixture
def settings(backend, tmp_path, receiver):
    (tmp_path / "notifiers.yml").write_text(
        f"""
notifiers:
  - {{name: good, kind: webhook, url: 'http://{receiver.place}/{SECRET}', min_severity: warning}}
  - {{name: bad, kind: webhook, url: 'http://127.0.0.1:1/{SECRET}', max_per_minute: 7}}
"""
    )
    return Settings(
        db=backend, judge_interval_seconds=100_000, notifiers_file=str(tmp_path / "notifiers.yml")
    )


def test_each_is_listed_with_what_it_wants_and_how_it_fares(http, store, change, until):
    names = ["log", "good", "bad"]
    assert [one["name"] for one in http.get("/api/v1/notifiers").json()["notifiers"]] == names
    store("a", change("firing", 8), notifiers=names)

    def tried():
        told = {one["name"]: one for one in http.get("/api/v1/notifiers").json()["notifiers"]}
        is_done = told["good"]["health"]["delivered"] and told["bad"]["health"]["failed"]
        return told if is_done else None

    told = until(tried, "nothing was tried")
    good, bad = told["good"], told["bad"]
    assert good["kind"] == "webhook" and good["address"].endswith("/***")
    assert good["wants"]["min_severity"] == "warning" and good["waiting"] == 0
    assert good["health"]["last_success_at"] > 0 and good["health"]["last_error"] is None
    assert bad["max_per_minute"] == 7 and bad["waiting"] == 1 and bad["health"]["last_success_at"] is None
    assert "refused" in bad["health"]["last_error"]
    page = http.get("/metrics").text
    assert 'foreshock_notifications_total{notifier="good",result="delivered"} 1.0' in page
    assert 'foreshock_notifications_total{notifier="good",result="failed"} 0.0' in page
    assert 'foreshock_notifications_waiting{notifier="bad"} 1.0' in page
    assert 'foreshock_notifications_waiting{notifier="good"} 0.0' in page
    assert 'foreshock_notifications_last_success_timestamp_seconds{notifier="good"}' in page
    assert SECRET not in page + json.dumps(told)


def test_a_message_tries_one_out(http, problem, receiver):
    told = http.post("/api/v1/notifiers/good/test").json()
    assert told["delivered"] is True and told["error"] is None and told["seconds"] >= 0
    (body,) = receiver.bodies
    assert body["alerts"][0]["labels"]["alertname"] == "test"
    told = http.post("/api/v1/notifiers/bad/test").json()
    assert told["delivered"] is False and "refused" in told["error"] and SECRET not in json.dumps(told)
    missing = problem(http.post("/api/v1/notifiers/none/test"), 404, "unknown-notifier")
    assert "there are log, good, bad" in missing["detail"]


def test_a_test_is_no_delivery_and_takes_no_turn(http):
    http.post("/api/v1/notifiers/good/test")
    (good,) = [one for one in http.get("/api/v1/notifiers").json()["notifiers"] if one["name"] == "good"]
    assert good["health"]["delivered"] == 0


def foreshock(*arguments, **environment):
    code = "from foreshock.cli import main; main()"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORESHOCK_")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**inherited, **environment},
    )


def test_the_commands_say_what_arrived_and_what_did_not(settings, start_collector, tmp_path, receiver):
    environment = {"FORESHOCK_NOTIFIERS_FILE": str(settings.notifiers_file), "FORESHOCK_TOKEN": "root"}
    collector = start_collector("--port", "0", "--db", str(tmp_path / "c.db"), environment=environment)
    place = {"FORESHOCK_URL": collector.url(), "FORESHOCK_TOKEN": "root"}
    every = foreshock("alerts", "test", **place)
    assert every.returncode == 1, every.stderr
    lines = every.stdout.splitlines()
    assert lines[0].startswith("log (log): taken in") and lines[1].startswith("good (webhook): taken in")
    assert lines[2].startswith("bad (webhook): NOT taken after") and "refused" in lines[2]
    one = foreshock("alerts", "test", "--notifier", "good", "--json", **place)
    assert one.returncode == 0 and json.loads(one.stdout)["notifiers"][0]["delivered"] is True
    none = foreshock("alerts", "test", "--notifier", "nobody", **place)
    assert none.returncode == 2 and none.stderr.count("\n") == 1 and "there are log, good" in none.stderr
    listed = foreshock("alerts", "notifiers", **place)
    assert listed.returncode == 0 and listed.stdout.splitlines()[1].startswith("good (webhook, http://127")
    told = "".join(done.stdout + done.stderr for done in (every, one, none, listed))
    assert SECRET not in told
    with httpx.Client() as http:
        assert http.post(f"{place['FORESHOCK_URL']}/api/v1/notifiers/good/test").status_code == 401


def test_a_receiver_that_hangs_keeps_no_other_waiting(tmp_path, backend, receiver, until, change):
    """Several runs, three notifiers: one hangs, one refuses, one is well and hears of every run."""
    well = type(receiver)()
    receiver.behave = receiver.hang
    (tmp_path / "notifiers.yml").write_text(
        f"""
notifiers:
  - {{name: hanging, kind: webhook, url: 'http://{receiver.place}/', timeout_seconds: 40}}
  - {{name: refusing, kind: webhook, url: 'http://127.0.0.1:1/'}}
  - {{name: well, kind: webhook, url: 'http://{well.place}/', max_per_minute: 6000}}
"""
    )
    said = Settings(
        db=backend, judge_interval_seconds=100_000, notifiers_file=str(tmp_path / "notifiers.yml")
    )
    runs = [f"run-{number}" for number in range(30)]
    try:
        with TestClient(create_app(said), base_url="http://127.0.0.1:8787") as http:
            engine = http.app.state.collector.engine
            for run in runs:
                with engine.begin() as connection:
                    names = http.app.state.collector.outbox.names
                    write_transitions(connection, run, "demo", 0, [change("firing", 8)], names)
            told = until(
                lambda: (
                    len(found := {one["labels"]["run"] for body in well.bodies for one in body["alerts"]})
                    == len(runs)
                    and found
                ),
                "some run was not told of",
            )
            assert told == set(runs) and len(receiver.requests) == 1
            receiver.released.set()
    finally:
        well.close()

"""Silences over HTTP: made, listed, ended, refused, and seen on the alerts that they keep quiet."""

import time
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.server.conftest import Problem

from foreshock.server.alerts.life import Transition
from foreshock.server.alerts.matcher import read_matcher
from foreshock.server.errors import InvalidError
from foreshock.server.store import silences
from foreshock.server.store.alerts import write_transitions

SAID: dict[str, Any] = {
    "matchers": [{"name": "rule", "operator": "=~", "value": "loss_.*"}],
    "author": " mira ",
    "comment": "known",
    "duration_seconds": 3600,
}


def test_a_silence_is_made_listed_seen_and_ended(http: TestClient) -> None:
    fired = Transition("loss_spike", "loss", "rule", "warning", "firing", 0, 0, 1.0, None, "why", "do")
    with http.app.state.collector.engine.begin() as connection:  # type: ignore[attr-defined]
        write_transitions(connection, "run-1", "demo", 0, [fired], ["nobody"])
    answer = http.post("/api/v1/silences", json=SAID)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["state"], made["author"], made["project"]) == ("active", "mira", None)
    assert made["ends_at"] - made["starts_at"] == pytest.approx(3600) and made["starts_at"] <= time.time()
    assert http.get("/api/v1/silences").json() == {"silences": [made]}
    seen = {"silence_id": made["silence_id"], "author": "mira", "ends_at": made["ends_at"]}
    (listed,) = http.get("/api/v1/alerts").json()["alerts"]
    assert listed["silences"] == http.get("/api/v1/alerts/run-1/1").json()["silences"] == [seen]
    ended = http.delete(f"/api/v1/silences/{made['silence_id']}").json()
    assert ended["state"] == "expired" and ended["expired_at"] >= made["created_at"]
    assert http.delete(f"/api/v1/silences/{made['silence_id']}").json() == ended
    assert http.get("/api/v1/alerts").json()["alerts"][0]["silences"] == []


def test_a_silence_may_begin_later(http: TestClient) -> None:
    at = time.time() + 1000
    said = {**SAID, "starts_at": at, "ends_at": at + 5, "duration_seconds": None}
    made = http.post("/api/v1/silences", json=said).json()
    assert (made["state"], made["starts_at"], made["ends_at"]) == ("pending", at, at + 5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"matchers": []}, "at least 1"),
        ({"matchers": [SAID["matchers"][0]] * 17}, "at most 16"),
        ({"matchers": [{"name": "rule", "operator": "=~", "value": ".*"}]}, "fit every alert"),
        ({"matchers": [{"name": "rule", "operator": "!=", "value": "x"}]}, "fit every alert"),
        ({"matchers": [{"name": "rule", "operator": "=~", "value": "(a"}]}, "not closed"),
        ({"matchers": [{"name": "rule", "operator": "=~", "value": "((a{99}){99}){99}"}]}, "too large"),
        ({"matchers": [{"name": "a b", "value": "x"}]}, "match pattern"),
        ({"matchers": [{"name": "rule", "operator": "<", "value": "x"}]}, "operator"),
        ({"matchers": [{"name": "rule", "value": "x" * 501}]}, "500"),
        ({"author": " "}, "author"),
        ({"comment": " \n"}, "comment"),
        ({"comment": None}, "comment"),
        ({"duration_seconds": None}, "ends_at or duration_seconds"),
        ({"ends_at": 2e9}, "one of both"),
        ({"duration_seconds": -1}, "duration_seconds"),
        ({"duration_seconds": "NaN"}, "duration_seconds"),
        ({"duration_seconds": None, "ends_at": 5.0}, "must end after"),
        ({"starts_at": 2e9, "duration_seconds": None, "ends_at": 1.9e9}, "must end after"),
        ({"duration_seconds": None, "ends_at": 9e9}, "within a year"),
        ({"duration_seconds": 1e300}, "duration_seconds"),
        ({"more": 1}, "more"),
    ],
)
def test_what_is_no_silence_is_refused(
    http: TestClient, problem: Problem, change: dict[str, Any], words: str
) -> None:
    answer = http.post("/api/v1/silences", json={**SAID, **change})
    assert words in problem(answer, 422, "invalid")["detail"]
    assert http.get("/api/v1/silences").json() == {"silences": []}


def test_a_silence_that_is_not_there_is_a_problem(http: TestClient, problem: Problem) -> None:
    problem(http.delete("/api/v1/silences/5b1e0c9a7f42"), 404, "unknown-silence")


def test_there_may_be_so_many(http: TestClient, problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silences, "MAX_LIVE_SILENCES", 2)
    made = [http.post("/api/v1/silences", json=SAID).json() for _ in range(2)]
    problem(http.post("/api/v1/silences", json=SAID), 409, "too-many-silences")
    http.delete(f"/api/v1/silences/{made[0]['silence_id']}")
    assert http.post("/api/v1/silences", json=SAID).status_code == 201


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("rule=a=b", ("rule", "=", "a=b")),
        ("run=~hc-.*", ("run", "=~", "hc-.*")),
        ("run!~a", ("run", "!~", "a")),
        ("team!=", ("team", "!=", "")),
    ],
)
def test_matchers_are_read(text: str, parts: tuple[str, ...]) -> None:
    assert tuple(read_matcher(text).values()) == parts


@pytest.mark.parametrize("text", ["", "rule", "=x", "rule!x", "!=x"])
def test_what_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="no matcher"):
        read_matcher(text)

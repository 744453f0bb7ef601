"""Notes at steps of a run: kept, listed by step, bounded, gone with the run."""

from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer

from foreshock.server.store import notes

SAID = {"step": 25, "author": " mira ", "text": "<b>rate halved</b>"}


@pytest.fixture
def where(http: TestClient) -> str:
    return f"/api/v1/runs/{Writer(http, 'noted').start('loss').run_id}/notes"


def test_notes_come_back_by_step_as_they_were_written(http: TestClient, where: str) -> None:
    first = http.post(where, json=SAID)
    assert first.status_code == 201 and first.json()["number"] == 1
    http.post(where, json=SAID | {"step": 3, "text": "ü\n\u202ex"})
    told = http.get(where).json()["notes"]
    assert [(one["step"], one["number"], one["author"], one["text"]) for one in told] == [
        (3, 2, "mira", "ü\n\u202ex"),
        (25, 1, "mira", "<b>rate halved</b>"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": -1},
        {"step": 2**53 + 1},
        {"step": 0.5},
        {"author": " "},
        {"author": "m\n"},
        {"author": "m" * 201},
        {"text": "\n "},
        {"text": "a\x00"},
        {"text": "a" * 2001},
        {"number": 7},
    ],
    ids=str,
)
def test_what_is_no_note_is_refused(
    http: TestClient, problem: Problem, where: str, wrong: dict[str, Any]
) -> None:
    problem(http.post(where, json=SAID | wrong), 422, "invalid")
    assert http.get(where).json()["notes"] == []


def test_a_run_has_only_so_many(
    http: TestClient, problem: Problem, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "MAX_NOTES", 2)
    for _ in range(2):
        assert http.post(where, json=SAID).status_code == 201
    told = problem(http.post(where, json=SAID), 409, "too-many-notes")
    assert "has 2 notes" in told["detail"]
    assert len(http.get(where).json()["notes"]) == 2


def test_there_are_no_notes_of_no_run(http: TestClient, problem: Problem) -> None:
    problem(http.get("/api/v1/runs/nothing/notes"), 404, "unknown-run")
    problem(http.post("/api/v1/runs/nothing/notes", json=SAID), 404, "unknown-run")

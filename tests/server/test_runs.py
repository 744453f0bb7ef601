"""Declaring, listing and describing runs."""

from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer

pytestmark = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


def test_declaring_twice_is_resuming(writer: Writer) -> None:
    assert writer.declare().json() == {
        "run_id": "run-1",
        "attempt": 0,
        "next_sequence": 0,
        "page": "/runs/run-1",
    }
    writer.send(writer.layout("loss"), writer.batch([0], [1.0]))
    assert writer.declare().json()["next_sequence"] == 2


def test_an_attempt_belongs_to_one_process(writer: Writer, problem: Problem) -> None:
    writer.start()
    told = problem(writer.declare(session="another"), 409, "attempt-taken")
    assert told["next_attempt"] == 1
    writer.session, writer.attempt = "another", 1
    assert writer.declare().json()["next_sequence"] == 0
    writer.attempt = 0
    assert problem(writer.declare(), 409, "attempt-taken")["next_attempt"] == 2


def test_a_later_attempt_takes_the_run_up_again(http: TestClient, writer: Writer) -> None:
    writer.start()
    writer.send(writer.batch([7], [1.0]), writer.event("crashed", 7))
    assert http.get("/api/v1/runs/run-1").json()["state"] == "crashed"
    writer.attempt = 1
    writer.declare()
    run = http.get("/api/v1/runs/run-1").json()
    assert (run["state"], run["attempt"], run["last_step"]) == ("running", 1, -1)


def test_only_rank_0_describes_the_run(http: TestClient, writer: Writer) -> None:
    writer.declare(config={"learning_rate": 0.1})
    other = type(writer)(http, rank=1, session="session-2")
    other.declare(config={"learning_rate": 0.2}, tags=["wrong"])
    run = http.get("/api/v1/runs/run-1").json()
    assert run["config"] == {"learning_rate": 0.1} and run["tags"] == []
    assert [cursor["rank"] for cursor in run["cursors"]] == [0, 1]


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"name": "x" * 10_000}, "at most 200"),
        ({"project": ""}, "at least 1"),
        ({"run_id": "a/b"}, "letters, digits"),
        ({"run_id": ".."}, "letters, digits"),
        ({"run_id": "x" * 65}, "at most 64"),
        ({"tags": ["t"] * 51}, "at most 50"),
        ({"name": "line\nbreak"}, "pattern"),
        ({"name": "nul\x00"}, "pattern"),
        ({"seed": 2**63}, "less than or equal"),
        ({"attempt": -1}, "greater than or equal"),
        ({"constraint": "maybe"}, "doubly_stochastic"),
        ({"config": {"x": "y" * 300_000}}, "262144 are allowed"),
        ({"total_steps": 0}, "greater than or equal"),
    ],
)
def test_what_is_not_allowed_is_said(
    http: TestClient, writer: Writer, problem: Problem, said: dict[str, Any], word: str
) -> None:
    told = problem(writer.declare(**said), 422, "invalid")
    assert word in told["detail"] and len(told["detail"]) < 400
    assert http.get("/api/v1/runs").json()["total"] == 0


def test_broken_json_is_refused(http: TestClient, problem: Problem) -> None:
    headers = {"Content-Type": "application/json"}
    problem(http.post("/api/v1/runs", content=b'{"run_id": ', headers=headers), 422, "invalid")
    problem(http.post("/api/v1/runs", content=b"\xff\xfe", headers=headers), 422, "invalid")


@pytest.fixture
def three_runs(http: TestClient, writer: Writer):
    runs = [
        (
            "a",
            {"name": "first run", "group": "hc", "tags": ["fp16", "größe"], "config": {"lr": 0.003, "n": 4}},
        ),
        ("b", {"name": "second", "group": "mhc", "tags": ["fp1"], "config": {"lr": 0.01, "model": {"n": 4}}}),
        ("c", {"name": "100% third", "project": "other", "config": {"constrained": True, "lr": 0.003}}),
    ]
    for number, (run_id, said) in enumerate(runs):
        type(writer)(http, run_id).declare(started_at=100.0 + number, **said)
    return http


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "cba"),
        ("project=demo", "ba"),
        ("group=hc", "a"),
        ("tag=fp1", "b"),
        ("tag=größe", "a"),
        ("q=FIRST", "a"),
        ("q=lr%3D3e-3", "ca"),
        ("q=lr%3D0.003+first", "a"),
        ("q=model.n%3D4", "b"),
        ("q=n%3D4", "a"),
        ("q=constrained%3Dtrue", "c"),
        ("q=100%25", "c"),
        ("q=_", ""),
        ("q=missing%3D1", ""),
        ("state=finished", ""),
        ("limit=1&offset=1", "b"),
    ],
)
def test_runs_are_found(three_runs: TestClient, query: str, found: str) -> None:
    page = three_runs.get(f"/api/v1/runs?{query}").json()
    assert "".join(run["run_id"] for run in page["runs"]) == found
    assert page["total"] == (3 if "limit" in query else len(found))


@pytest.mark.parametrize(
    "query", ["limit=501", "limit=0", "offset=-1", "state=odd", "colour=red", "q=" + "x" * 501]
)
def test_lists_are_bounded(http: TestClient, problem: Problem, query: str) -> None:
    problem(http.get(f"/api/v1/runs?{query}"), 422, "invalid")


def test_a_run_is_described_whole(http: TestClient, writer: Writer) -> None:
    writer.start("loss", "layer_amax_forward_max[0]", "layer_amax_forward_max[1]", seed=3, total_steps=10)
    run = http.get("/api/v1/runs/run-1").json()
    assert run["series"] == [
        {"series": "loss", "layers": None},
        {"series": "layer_amax_forward_max", "layers": 2},
    ]
    assert (run["seed"], run["total_steps"], run["state"], run["last_alert"]) == (3, 10, "running", None)
    assert "session" not in run["cursors"][0]


def test_an_unknown_run_is_a_problem_everywhere(http: TestClient, problem: Problem) -> None:
    for part in ("", "/series?column=loss", "/map?series=x", "/latest", "/events", "/figures/loss"):
        problem(http.get(f"/api/v1/runs/nobody{part}"), 404, "unknown-run")
    problem(http.get("/api/v1/nothing"), 404, "not-found")
    problem(http.delete("/api/v1/runs"), 405, "method-not-allowed")

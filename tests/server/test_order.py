"""Lists of runs in the order asked for, the same on both databases."""

import math
import time
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer

from foreshock.server.alerts.life import Transition
from foreshock.server.store.alerts import write_transitions
from foreshock.server.store.schema import runs

pytestmark = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)

# What is NaN is the worst; what was never measured comes last in both orders
SUMMARIES: dict[str, dict[str, Any]] = {
    "a": {"loss": 2.5, "composite_forward": 1.0, "composite_backward": 30.0, "headroom_bits": 11.0},
    "b": {"loss": math.nan, "composite_forward": math.inf, "composite_backward": None, "headroom_bits": -1.0},
    "c": {"loss": 10.0, "composite_forward": 2.0, "composite_backward": 1.0, "headroom_bits": 3.0},
    "d": {},
}


@pytest.fixture
def four_runs(http: TestClient, writer: Writer) -> TestClient:
    said = {
        "a": {"name": "beta", "seed": 3},
        "b": {"name": "Alpha", "seed": None, "tags": ["x"]},
        "c": {"name": "gamma", "seed": 1, "project": "other", "tags": ["x", "y"]},
        "d": {"name": "delta", "seed": 2, "project": "other"},
    }
    for number, (run_id, more) in enumerate(said.items()):
        one = type(writer)(http, run_id)
        one.start("loss", started_at=100.0 + number, **more)
        if run_id != "d":
            one.send(one.batch([10 * (4 - number)], [1.0]))
    collector = http.app.state.collector  # type: ignore[attr-defined]
    collector.judge.stop()
    fired = Transition("rule", "step", "event", "warning", "firing", 0, 0, 1.0, None, "why", "do")
    with collector.engine.begin() as connection:
        for run_id, summary in SUMMARIES.items():
            of_run = sa.update(runs).where(runs.c.run_id == run_id)
            connection.execute(of_run.values(summary=summary))
        write_transitions(connection, "a", "demo", 0, [fired], [])
        critical = Transition("rule", "step", "event", "critical", "firing", 0, 0, 0.5, None, "why", "do")
        write_transitions(connection, "d", "other", 0, [critical], [])
    return http


def listed(http: TestClient, **query: Any) -> str:
    page = http.get("/api/v1/runs", params=query).json()
    return "".join(run["run_id"] for run in page["runs"])


@pytest.mark.parametrize(
    ("sort", "rising", "falling"),
    [
        ("started", "abcd", "dcba"),
        ("name", "badc", "cdab"),
        ("project", "badc", "dcba"),
        ("seed", "cdab", "adcb"),
        ("step", "cbad", "abcd"),
        ("loss", "acbd", "bcad"),
        ("gain", "cabd", "bacd"),
        ("headroom", "bcad", "acbd"),
        ("alert", "adcb", "dacb"),
    ],
)
def test_every_column_sorts_both_ways(four_runs: TestClient, sort: str, rising: str, falling: str) -> None:
    assert listed(four_runs, sort=sort, order="asc") == rising
    assert listed(four_runs, sort=sort) == falling


@pytest.mark.parametrize("sort", ["loss", "seed", "alert"])
def test_pages_of_a_sorted_list_are_the_list(four_runs: TestClient, sort: str) -> None:
    whole = listed(four_runs, sort=sort)
    pages = [listed(four_runs, sort=sort, limit=3, offset=offset) for offset in (0, 3, 6)]
    assert "".join(pages) == whole and len(pages[0]) == 3 and pages[2] == ""


def test_tags_and_pins_are_looked_for(four_runs: TestClient) -> None:
    assert listed(four_runs, q="#x") == "cb"
    assert listed(four_runs, q="#x #y") == "c" == listed(four_runs, q="#x", tag="y")
    assert listed(four_runs, q="#nothing") == "" == listed(four_runs, q="# x=1")
    four_runs.post("/api/v1/runs/b/pin")
    assert listed(four_runs, pinned="true") == "b" and listed(four_runs, pinned="false") == "dca"


@pytest.mark.parametrize("query", ["sort=colour", "order=up", "sort=", "pinned=maybe"])
def test_an_order_that_there_is_not_is_told(http: TestClient, problem: Problem, query: str) -> None:
    problem(http.get(f"/api/v1/runs?{query}"), 422, "invalid")


def test_alerts_are_found_by_words_of_theirs_and_of_their_runs(four_runs: TestClient) -> None:
    def found(words: str) -> list[tuple[str, str]]:
        told = four_runs.get("/api/v1/alerts", params={"q": words}).json()
        assert told["total"] == len(told["alerts"])
        return [(one["run_id"], one["run_name"]) for one in told["alerts"]]

    assert found("why") == [("a", "beta"), ("d", "delta")]
    assert found("BETA why") == [("a", "beta")]
    assert found("beta delta") == found("%") == found("wh_") == []


def test_the_collector_tells_what_it_is_and_what_there_is(four_runs: TestClient) -> None:
    told = four_runs.get("/api/v1/about").json()
    assert told["projects"] == ["demo", "other"] and told["rules"] == ["rule"]
    assert told["caller"] == {"token_id": None, "scopes": ["ingest", "read", "admin"], "project": None}
    assert told["database"] in ("sqlite", "postgresql") and told["asks_for_tokens"] is False
    assert abs(told["time"] - time.time()) < 60

"""Every answer to a probe carries the alerts that it has not seen."""

import math
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from tests.server.conftest import Writer

from foreshock.server.store.schema import alert_transitions, alerts
from foreshock.wire import Alert, AppendAnswer

pytestmark = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


def open_alert(http: TestClient, values: list[float | None]):
    """One alert of run-1 with a transition for each value, as the judge writes them."""
    alert = {
        "run_id": "run-1",
        "alert_id": 1,
        "alert_key": "key",
        "project": "demo",
        "attempt": 0,
        "rule": "exit_amax",
        "claim": "rule",
        "severity": "critical",
        "subject": "layer 0",
        "state": "firing",
        "opened_step": 5,
        "opened_at": 1.0,
        "updated_at": 2.0,
        "reason": "gain 12 and rising",
        "advice": "stop",
    }
    changes = [
        {
            "run_id": "run-1",
            "number": number,
            "alert_id": 1,
            "state": "firing",
            "step": 5 + number,
            "value": value,
            "reason": f"reason {number}",
            "time": 3.0,
        }
        for number, value in enumerate(values, 1)
    ]
    with http.app.state.collector.engine.begin() as connection:
        connection.execute(sa.insert(alerts), alert)
        connection.execute(sa.insert(alert_transitions), changes)


def unseen(answer: Any) -> list[Alert]:
    """The alerts of an answer, read as a probe reads them."""
    return msgspec.json.decode(answer.content, type=AppendAnswer).alerts


def test_appends_heartbeats_and_duplicates_tell_what_is_new(http: TestClient, writer: Writer) -> None:
    writer.start()
    open_alert(http, [1.0, 12.5, None])
    body = writer.body(writer.batch([0], [1.0]), last_alert=1)
    for answer in (writer.post(body), writer.post(body), writer.send(last_alert=1)):
        assert [alert.number for alert in unseen(answer)] == [2, 3]
    first, second = unseen(writer.send(last_alert=1))
    assert (first.rule, first.severity, first.step, first.value) == ("exit_amax", "critical", 7, 12.5)
    assert (second.value, second.reason, second.advice) == (None, "reason 3", "stop")
    assert unseen(writer.send(last_alert=3)) == []


def test_a_value_that_json_has_no_number_for_does_not_break_the_probe(
    http: TestClient, writer: Writer
) -> None:
    writer.start()
    open_alert(http, [math.inf])
    assert unseen(writer.send())[0].value is None


def test_another_runs_alerts_are_not_told(http: TestClient, writer: Writer) -> None:
    writer.start()
    open_alert(http, [1.0])
    other = type(writer)(http, "run-2", session="session-2").start()
    assert unseen(other.send()) == []


def test_lists_and_descriptions_name_the_last_alert(http: TestClient, writer: Writer) -> None:
    writer.start()
    open_alert(http, [1.0])
    run = http.get("/api/v1/runs").json()["runs"][0]
    assert run["last_alert"]["rule"] == "exit_amax" and run["num_alerts"] == {"firing": 1}
    assert http.get("/api/v1/runs/run-1").json()["last_alert"] == run["last_alert"]
    marks = http.app.state.collector.run("run-1").alerts()
    assert [(mark.rule, mark.opened_step, mark.fired_step) for mark in marks] == [("exit_amax", 5, None)]

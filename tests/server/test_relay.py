"""The bell across replicas: a page of one collector hears what another has stored."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from tests.server.conftest import HERE, Writer

from foreshock.server.app import create_app
from foreshock.server.relay import MAX_PAYLOAD_BYTES
from foreshock.server.settings import Settings

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.parametrize("backend", ["postgres"], indirect=True),
]


@pytest.fixture
def replicas(settings: Settings) -> Iterator[tuple[TestClient, TestClient]]:
    """Two collectors on one database."""
    with (
        TestClient(create_app(settings), base_url=HERE) as one,
        TestClient(create_app(settings), base_url=HERE) as other,
    ):
        yield one, other


def heard_by(http: TestClient) -> list[tuple[str, dict[str, object]]]:
    """Everything that rings at a collector from now on."""
    heard: list[tuple[str, dict[str, object]]] = []
    bell = http.app.state.collector.bell
    ring: Callable[..., None] = bell.ring
    lock = threading.Lock()

    def listen(name: str, data: dict[str, object]) -> None:
        with lock:
            heard.append((name, data))
        ring(name, data)

    bell.ring = listen
    return heard


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "nothing was heard"
        time.sleep(0.02)


def test_steps_and_runs_are_heard_everywhere_and_once(replicas: tuple[TestClient, TestClient]) -> None:
    one, other = replicas
    here, there = heard_by(one), heard_by(other)
    writer = Writer(one).start()
    writer.send(writer.batch(range(10), [0.0] * 10))
    step = ("step", {"run_id": "run-1", "step": 9})
    wait_for(lambda: step in there)
    assert ("run", {"run_id": "run-1", "state": "running"}) in there
    time.sleep(0.5)  # long enough for an echo
    assert here.count(step) == 1 and there.count(step) == 1


def test_an_alert_too_long_for_the_database_comes_without_its_words(
    replicas: tuple[TestClient, TestClient],
) -> None:
    one, other = replicas
    there = heard_by(other)
    alert = {"run_id": "run-1", "rule": "exit_amax", "reason": "x" * MAX_PAYLOAD_BYTES, "advice": "y"}
    one.app.state.collector.ring("alert", alert)
    wait_for(lambda: bool(there))
    assert there == [("alert", {"run_id": "run-1", "rule": "exit_amax"})]


def test_a_relay_whose_connection_ends_connects_again(
    replicas: tuple[TestClient, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreshock.server.relay.PAUSE_SECONDS", 0.1)
    one, other = replicas
    there = heard_by(other)
    others = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%LISTEN%'"
    )

    def is_heard() -> bool:
        one.app.state.collector.ring("run", {"run_id": "run-1", "state": "lost"})
        return bool(there)

    wait_for(is_heard)
    with one.app.state.collector.engine.connect() as connection:
        connection.execute(others)
    there.clear()
    wait_for(is_heard)

"""Server-sent events: told at once, never waited for."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.conftest import CollectorProcess, Writer

from foreshock.server.bell import MAX_WAITING, Bell
from foreshock.server.errors import BusyError


def listen(bell: Bell, run_id: str | None = None, rounds: int = 1, heartbeat_seconds: Any = 5.0):
    """Starts listening in a thread of its own; the news of each round as they come."""
    heard, ready = [], threading.Event()

    async def hear():
        listening = bell.listen(run_id, heartbeat_seconds)
        asyncio.get_running_loop().call_later(0.05, ready.set)
        async for news in listening:
            heard.append(news)
            if len(heard) == rounds:
                break
        await listening.aclose()

    thread = threading.Thread(target=asyncio.run, args=(hear(),))
    thread.start()
    assert ready.wait(5)
    return heard, thread


def test_steps_coalesce_and_alerts_do_not() -> None:
    bell = Bell()
    heard, thread = listen(bell, rounds=2, heartbeat_seconds=0.5)
    for step in range(100):
        bell.ring("step", {"run_id": "a", "step": step})
        bell.ring("judged", {"run_id": "a", "step": step - 9})
        bell.ring("alert", {"run_id": "a", "number": step})
    thread.join(5)
    news = [item for round_ in heard for item in round_]
    assert [data["number"] for name, data in news if name == "alert"] == list(range(100))
    steps = [data["step"] for name, data in news if name == "step"]
    assert len(steps) <= 2 and steps[-1] == 99
    judged = [data["step"] for name, data in news if name == "judged"]
    assert len(judged) <= 2 and judged[-1] == 90


def test_a_reader_of_one_run_hears_nothing_of_others() -> None:
    bell = Bell()
    heard, thread = listen(bell, "a")
    bell.ring("step", {"run_id": "b", "step": 1})
    bell.ring("run", {"run_id": "a", "state": "finished"})
    thread.join(5)
    assert heard == [[("run", {"run_id": "a", "state": "finished"})]]


def test_silence_is_heard_as_heartbeats() -> None:
    heard, thread = listen(Bell(), heartbeat_seconds=0.05, rounds=2)
    thread.join(5)
    assert heard == [[], []]


def test_a_reader_that_is_flooded_is_cut_off_and_the_bell_goes_on() -> None:
    bell = Bell()
    heard, thread = listen(bell, rounds=10)
    for number in range(50 * MAX_WAITING):
        bell.ring("alert", {"run_id": "a", "number": number})
    thread.join(5)
    assert not thread.is_alive() and len(heard) <= 2


def test_closing_the_bell_ends_every_stream() -> None:
    bell = Bell()
    heard, thread = listen(bell)
    bell.close()
    thread.join(5)
    assert not thread.is_alive() and heard == []


def test_readers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foreshock.server.bell.MAX_READERS", 1)
    bell = Bell()
    _, thread = listen(bell)
    with pytest.raises(BusyError, match="close some"):
        bell.check_room()
    bell.close()
    thread.join(5)


def test_a_page_hears_of_new_steps_over_http(
    start_collector: Callable[..., CollectorProcess], tmp_path: Path, writer_of: type[Writer]
) -> None:
    collector = start_collector("--port", "0", "--db", str(tmp_path / "a.db"))
    with httpx.Client(base_url=collector.url(), timeout=20) as http:
        writer = writer_of(http).start()
        with http.stream("GET", "/api/v1/events?run_id=run-1") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.iter_lines()
            assert next(lines) == "retry: 2000"
            with httpx.Client(base_url=http.base_url) as sender:
                writer.http = sender
                writer.send(writer.batch([41, 42], [1.0, 1.0]), writer.event("finished", 42))
            told = [line for line in (next(lines) for _ in range(7)) if line]
        assert collector.stop() is not None
    # One commit caused both; which of them is rung first is not promised
    data = {
        name: json.loads(line.removeprefix("data: "))
        for name, line in zip(told[0::2], told[1::2], strict=True)
    }
    assert data == {
        "event: run": {"run_id": "run-1", "state": "finished"},
        "event: step": {"run_id": "run-1", "step": 42},
    }

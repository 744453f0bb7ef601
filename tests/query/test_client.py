"""The client: what a collector knows, as arrays, and its refusals in its own words."""

import builtins
import math
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import numpy as np
import pytest
from tests.server.conftest import CollectorProcess, Writer

from foreshock.query import (
    AddressError,
    Client,
    MissingLibraryError,
    ProblemError,
    UnknownColumnError,
    UnreachableError,
)
from foreshock.query.connection import Connection


@pytest.fixture
def client(connection: Connection) -> Iterator[Client]:
    with Client() as client:
        yield client


@pytest.fixture(scope="module", autouse=True)
def runs(collector: str) -> None:
    """Three seeds in a group, the last of two ranks and with layers."""
    with httpx.Client(base_url=collector) as http:
        for seed in range(3):
            writer = Writer(http, f"seed-{seed}")
            about = {"project": "client", "group": "hc", "seed": seed, "tags": [f"t{seed}"]}
            writer.start("loss", "acc", config={"connection": "hc", "lr": 0.1 * seed}, **about)
            values = [[step / 4 + seed, math.nan if step == 5 else step] for step in range(100)]
            writer.send(writer.batch(range(100), values), writer.event("finished", 99))
        second = Writer(http, "seed-2", rank=1)
        second.declare(project="client")
        second.send(
            second.layout("loss", "layer_amax_forward_max[0]", "layer_amax_forward_max[1]"),
            second.batch([0, 99], [[8, 1, 2], [9, math.inf, 4]]),
            second.event("finished", 99),
        )


def test_runs_are_found(client: Client) -> None:
    assert {run.run_id for run in client.runs(project="client")} == {"seed-0", "seed-1", "seed-2"}
    [run] = client.runs(project="client", tag="t1")
    assert (run.name, run.project, run.state, run.last_step) == ("seed-1", "client", "finished", 99)
    assert run.config == {"connection": "hc", "lr": 0.1} and "seed-1" in repr(run)
    assert [run.run_id for run in client.runs(q="lr=0.2")] == ["seed-2"]
    assert client.runs(project="client", state="crashed") == []
    assert client.runs(project="client", group="mhc") == []
    assert run.columns() == ["loss", "acc"]


def test_series_are_buckets_of_arrays(client: Client) -> None:
    run = client.run("seed-0")
    found = run.series("loss", "acc", "none", buckets=50)
    assert list(found) == ["loss", "acc"]
    loss, acc = found["loss"], found["acc"]
    assert loss.bucket_width == 2 and loss.first_step.dtype == np.int64
    np.testing.assert_array_equal(loss.first_step, np.arange(0, 100, 2))
    np.testing.assert_array_equal(loss.maximum, np.arange(1, 100, 2) / 4)
    assert acc.nonfinite[2] == 1 and acc.minimum[2] == 4 and math.isnan(acc.last[2])
    assert len(run.series("loss", start=10, stop=13)["loss"].first_step) == 4


def test_values_are_whole_and_of_one_rank(client: Client) -> None:
    run = client.run("seed-2")
    steps, loss = run.values("loss")
    assert steps.dtype == np.int64 and loss.dtype == np.float32
    np.testing.assert_array_equal(steps, np.arange(100))
    np.testing.assert_array_equal(loss, np.arange(100) / 4 + 2)
    steps, loss = run.values("loss", rank=1, start=50)
    assert (steps.tolist(), loss.tolist()) == ([99], [9])
    by_rank = run.values_by_rank("loss", stop=0)
    assert {rank: values.values.tolist() for rank, values in by_rank.items()} == {0: [2], 1: [8]}
    assert len(run.values("loss", rank=5).steps) == 0


def test_pages_join_where_they_were_cut(client: Client, connection: Connection) -> None:
    from foreshock.query.frames import Selection, join_values, read_frames

    pieces = list(read_frames(connection, "/runs/seed-0", Selection(rank=0), limit=7))
    assert len(pieces) > 3
    for column in ("loss", "acc"):
        joined, whole = join_values(pieces, column), client.run("seed-0").values(column)
        np.testing.assert_array_equal(joined.steps, whole.steps)
        np.testing.assert_array_equal(joined.values, whole.values)


def test_maps_and_newest_values(client: Client) -> None:
    run = client.run("seed-2")
    found = run.map("layer_amax_forward_max")
    assert found.maximum.shape == (2, len(found.first_step))
    assert found.maximum[:, -1].tolist() == [math.inf, 4]
    latest = run.latest()
    assert latest["layer_amax_forward_max[0]"] == math.inf
    # Ranks join as the catalogue says
    assert latest["loss"] == pytest.approx((99 / 4 + 2 + 9) / 2)
    assert [event["kind"] for event in run.events()] == ["finished", "finished"]
    for _ in range(20):  # an alert may come between the two questions
        own, of_all = run.alerts(), client.alerts(project="client")
        if own == [alert for alert in of_all if alert["run_id"] == "seed-2"]:
            break
        time.sleep(0.2)
    else:
        pytest.fail(f"{own} of the run, {of_all} of all")


def test_a_pandas_frame_is_indexed_by_step(client: Client) -> None:
    frame = client.run("seed-2").frame(rank=1)
    assert list(frame.columns) == ["loss", "layer_amax_forward_max[0]", "layer_amax_forward_max[1]"]
    assert frame.index.name == "step" and frame.index.tolist() == [0, 99]
    assert frame["layer_amax_forward_max[1]"].tolist() == [2, 4]
    assert client.run("seed-0").frame(["acc"], stop=5)["acc"].isna().tolist() == [False] * 5 + [True]


def test_without_pandas_the_extra_is_named(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    importing = builtins.__import__

    def without(module: str, *rest: Any) -> Any:
        if module == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name="pandas")
        return importing(module, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingLibraryError, match=r"pip install 'foreshock\[exchange\]'"):
        client.run("seed-0").frame()


def test_groups_are_compared(client: Client) -> None:
    group = client.compare("loss", group_by="connection", project="client")["hc"]
    assert [seed.run_id for seed in group.seeds] == ["seed-0", "seed-1", "seed-2"]
    assert (group.low <= group.mean).all() and group.first_step[0] == 0
    np.testing.assert_allclose(group.seeds[1].values, np.arange(100) / 4 + 1)


def test_refusals_are_the_collectors_words(client: Client) -> None:
    with pytest.raises(ProblemError, match="404 unknown-run: there is no run 'none' here") as caught:
        client.run("none")
    assert (caught.value.status, caught.value.code) == (404, "unknown-run")
    with pytest.raises(UnknownColumnError, match="no column 'los'; near it: loss"):
        client.run("seed-0").values("los")
    with pytest.raises(ProblemError, match="unknown-series"):
        client.run("seed-0").map("layer_amax_forward_max")
    with pytest.raises(ProblemError, match="unknown-attempt"):
        client.run("seed-0").values("loss", attempt=3)


def test_the_call_beats_the_environment(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    process = CollectorProcess(
        "--port", "0", "--db", str(tmp_path / "a.db"), environment={"FORESHOCK_TOKEN": "word"}
    )
    try:
        monkeypatch.setenv("FORESHOCK_URL", process.url())
        with Client() as client, pytest.raises(ProblemError, match="401 unauthorized"):
            client.runs()
        with Client(token="word") as client:
            assert client.runs() == []
        monkeypatch.setenv("FORESHOCK_TOKEN", "word")
        with Client() as client:
            assert client.runs() == [] and "word" not in repr(client)
        with Client("http://127.0.0.1:1") as client, pytest.raises(UnreachableError, match="foreshock serve"):
            client.runs()
    finally:
        process.stop()
    for url in ("collector", "ftp://a", "http://:1"):
        with pytest.raises(AddressError, match="give the collector's address"):
            Client(url)
    with pytest.raises(AddressError, match="the token holds characters"):
        Client(token="wörd")


class _Busy(BaseHTTPRequestHandler):
    """A collector that is busy twice, or for ever, or no collector."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.path.endswith("/page"):
            self.answer(200, b"<html>", {})
        elif self.path.endswith("/silent") or self.asked <= 2 or self.path.endswith("/forever"):
            pause = {} if self.path.endswith("/silent") else {"Retry-After": "0.01"}
            if self.path.endswith("/forever"):
                pause = {"Retry-After": "3600"}
            body = b'{"type":"/problems/busy","title":"Busy","status":429,"detail":"wait"}'
            self.answer(429, body, pause)
        else:
            self.answer(200, b'{"fine": true}', {})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def test_a_busy_collector_is_asked_again_for_a_while() -> None:
    _Busy.asked = 0
    with HTTPServer(("127.0.0.1", 0), _Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Connection(f"http://127.0.0.1:{server.server_port}") as connection:
            assert connection.get("/soon") == {"fine": True} and _Busy.asked == 3
            for path in ("/forever", "/silent"):
                with pytest.raises(ProblemError, match="429 busy: wait"):
                    connection.get(path)
            assert _Busy.asked == 5
            with pytest.raises(UnreachableError, match="no collector's answer"):
                connection.get("/page")
        server.shutdown()

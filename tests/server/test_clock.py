"""When steps were made, from the log, from chunks and from both."""

import numpy as np
from starlette.testclient import TestClient
from tests.server.conftest import Writer
from tests.server.test_compaction import compact, judged

from foreshock.wire import make_batch
from foreshock.wire.readings import Window


def clock_of(http: TestClient, window: Window):
    collector = http.app.state.collector  # type: ignore[attr-defined]
    return collector.run("run-1").clock(window)


def write(writer: Writer, num_steps: int) -> None:
    """Times are the steps themselves, as the Writer sends them."""
    writer.start("loss")
    for first in range(0, num_steps, 500):
        steps = list(range(first, min(first + 500, num_steps)))
        writer.send(writer.batch(steps, [1.0] * len(steps)))


def test_the_clock_of_a_log_tells_every_step(http: TestClient, writer: Writer) -> None:
    write(writer, 1200)
    found = clock_of(http, Window())
    assert found.began == 0.0 and np.array_equal(found.steps, np.arange(1200))
    assert np.array_equal(found.seconds, np.arange(1200.0))


def test_a_window_keeps_the_moment_in_which_the_attempt_began(http: TestClient, writer: Writer) -> None:
    write(writer, 1200)
    found = clock_of(http, Window(start=700, stop=720))
    assert found.began == 0.0 and found.steps.tolist() == list(range(700, 721))


def test_the_clock_of_chunks_is_that_of_the_log(http: TestClient, writer: Writer) -> None:
    collector = http.app.state.collector  # type: ignore[attr-defined]
    collector.judge.stop()
    collector.compactor.stop()
    write(writer, 9000)
    before = clock_of(http, Window())
    judged(http, 8999)
    assert compact(http) > 0
    after = clock_of(http, Window())
    assert np.array_equal(np.interp(before.steps, after.steps, after.seconds), before.seconds)
    assert clock_of(http, Window(start=4000, stop=4010)).steps.tolist() == list(range(4000, 4011))


def test_a_run_without_a_step_has_no_clock(http: TestClient, writer: Writer) -> None:
    writer.start("loss")
    assert clock_of(http, Window()) is None


def test_a_clock_that_goes_back_stands_still(http: TestClient, writer: Writer) -> None:
    writer.start("loss")
    times = np.array([100.0, 101.0, 50.0, 100.5, 102.0])
    values = np.ones((5, 1), np.float32)
    writer.send(make_batch(writer.take(), 0, np.arange(5), times, values))
    found = clock_of(http, Window())
    assert found.steps.tolist() == [0, 1, 2, 3, 4]
    assert found.seconds.tolist() == [100.0, 101.0, 101.0, 101.0, 102.0]

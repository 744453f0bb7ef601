"""One run's share of the judge: bounded in steps, values, columns and time, whatever a body unpacks to."""

import threading
import time

import numpy as np
import pytest
from tests.server.judging.bench import HC, write

from foreshock.server import judge as judge_module
from foreshock.server.detection import case as case_module
from foreshock.server.store import frames as frames_module
from foreshock.server.store.engine import reading
from foreshock.server.store.frames import Span, read_frames
from foreshock.server.store.schema import detector_states


def judged(bench):
    return {row["run_id"]: row["judged_step"] for row in bench.rows(detector_states)}


def read(bench, upto, after=-1, **options):
    with reading(bench.engine) as connection:
        return read_frames(connection, Span("run-1", 0, after, upto), **options)


def test_one_huge_batch_is_judged_in_bounded_turns(bench, writer, monkeypatch):
    monkeypatch.setattr(frames_module, "MAX_STEPS_PER_TURN", 100)
    writer.start("loss", "grad_norm")
    writer.send(writer.batch(range(0, 2500, 10), np.ones((250, 2))))
    bench.turns(1)
    assert judged(bench) == {"run-1": 990}
    bench.turns(2)
    assert judged(bench) == {"run-1": 2490}


def test_a_turn_is_bounded_by_ranks_and_columns(bench, http, writer, monkeypatch):
    monkeypatch.setattr(frames_module, "MAX_VALUES_PER_TURN", 120)
    other = type(writer)(http, rank=1, session="session-2")
    for one in (writer, other):
        one.start("loss", "grad_norm", "my/own")
        one.send(one.batch(range(100), np.ones((100, 3))))
    frames, upto = read(bench, 99)
    assert upto == 29 and [len(one.steps) for one in frames] == [30, 30]


def test_only_columns_that_a_rule_can_look_at_are_unpacked(bench, writer):
    writer.start("my/own", "loss", "layer_mine", "other")
    writer.send(writer.batch(range(3), [[1, 2, 3, 4]] * 3))
    (frames,), upto = read(bench, 2)
    assert upto == 2 and frames.columns == ("loss", "layer_mine")
    assert frames.values.tolist() == [[2.0] * 3, [3.0] * 3]


def test_a_slow_stream_cannot_fill_a_turn_either(bench, writer, monkeypatch):
    monkeypatch.setattr(frames_module, "MAX_STEPS_PER_TURN", 8)
    writer.start("loss")
    writer.send(writer.layout("grad_norm", layout_id=1, stream="slow"))
    writer.send(writer.batch(range(50), np.ones(50), layout_id=1), writer.batch([50], [1.0]))
    seen, after = [], -1
    while after < 50:
        frames, after = read(bench, 50, after)
        seen += [int(step) for one in frames for step in one.steps]
    assert sorted(seen) == list(range(51))


@pytest.mark.parametrize("bound", [1, 7, 64])
def test_where_a_turn_ends_changes_nothing(bench, writer, traces, monkeypatch, bound):
    monkeypatch.setattr(frames_module, "MAX_STEPS_PER_TURN", bound)
    monkeypatch.setattr(case_module, "SLICE", 5)
    monkeypatch.setattr(judge_module, "MAX_SECONDS_PER_TURN", 0.0)
    list(write(writer, list(traces.hc_dying().rows()), [50], **HC))
    bench.turns(150)
    expected = traces.judge(traces.hc_dying(), total_steps=200, config={"connection": "hc"})
    assert bench.told() == [(one.rule, one.subject, one.state, one.step) for one in expected]


def test_a_run_with_a_backlog_leaves_the_others_their_turn(bench, http, writer, monkeypatch):
    monkeypatch.setattr(judge_module, "MAX_SECONDS_PER_TURN", 0.0)
    writer.start("loss")
    writer.send(writer.batch(range(5000), np.ones(5000)))
    other = type(writer)(http, run_id="run-2", session="session-2").start("loss")
    other.send(other.batch(range(3), [1.0, 2.0, np.nan]))
    bench.turns(1)
    assert judged(bench) == {"run-1": case_module.SLICE - 1, "run-2": 2}
    assert ("nonfinite", "loss", "firing", 2) in bench.told("run-2")


def test_a_judge_is_stopped_in_the_middle_of_a_turn(bench, writer, monkeypatch):
    """The turn alone would take minutes: every slice waits."""
    monkeypatch.setattr(judge_module, "MAX_SECONDS_PER_TURN", 1000.0)
    began, advance = threading.Event(), case_module.Case._judge

    def slow(case, block):
        began.set()
        time.sleep(0.2)
        return advance(case, block)

    monkeypatch.setattr(case_module.Case, "_judge", slow)
    monkeypatch.setattr(case_module, "SLICE", 1)
    writer.start("loss")
    writer.send(writer.batch(range(1000), np.ones(1000)))
    bench.judge.start()
    assert began.wait(60)
    started = time.monotonic()
    bench.judge.stop()
    assert time.monotonic() - started < 20
    assert 0 <= judged(bench)["run-1"] < 200


def test_what_is_stopped_while_it_reads_finds_nothing(bench, writer):
    writer.start("loss")
    writer.send(writer.batch(range(3), np.ones(3)))
    assert read(bench, 2, is_stopped=lambda: True) == ([], -1)

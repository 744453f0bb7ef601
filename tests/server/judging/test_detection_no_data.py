"""A signal that comes no more, told from one that comes rarely and from a run that pauses."""

import numpy as np
import pytest
from tests.server.judging.bench import write

from foreshock.server.detection.block import block_of
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.detector import Detector
from foreshock.server.detection.rules.no_data import NoData

RULE = NoData()
GRACE = RULE.look_samples * RULE.grace_looks


def told(block, cut=None):
    """(state, step) of every transition, the detector replaced at a cut."""
    detector, found = Detector(RunContext(), [NoData()]), []
    for start, end in ((0, cut), (cut, len(block))) if cut else ((0, len(block)),):
        packed = detector.state()
        detector = Detector(RunContext(), [NoData()])
        detector.restore(packed)
        found += detector.judge(block.part(start, end))
    return [(one.state, one.step, one.grounds.signal) for one in found]


def run(num_steps, every, spacing=1, steps=None):
    """A loss at every step, and a gradient norm where `every` says so."""
    here = np.array([every(step) for step in range(num_steps)])
    series = {"loss": np.full(num_steps, 3.0), "grad_norm": np.ones(num_steps)}
    own_steps = spacing * np.arange(num_steps) if steps is None else steps
    return block_of(series, own_steps, {"grad_norm": here})


def test_a_signal_that_stops_is_missed_and_found_again():
    found = told(run(600, lambda step: step < 100 or step >= 400))
    assert [(state, signal) for state, _, signal in found] == [("firing", "grad_norm"), ("resolved", None)]
    assert 100 + GRACE <= found[0][1] <= 100 + GRACE + 2 * RULE.look_samples
    assert 400 <= found[1][1] <= 400 + RULE.look_samples


@pytest.mark.parametrize("spacing", [1, 10, 1000])
def test_a_signal_that_comes_rarely_is_missed_by_its_own_measure(spacing):
    assert told(run(2000, lambda step: step % 100 == 0, spacing)) == []
    ((state, step, _),) = told(run(2000, lambda step: step % 100 == 0 and step < 1000, spacing))
    assert state == "firing" and step / spacing > 900 + RULE.patience * 100


def test_a_run_that_samples_more_rarely_misses_nothing():
    steps = np.concatenate((np.arange(200), 1000 * np.arange(1, 300)))
    assert told(run(len(steps), lambda step: True, steps=steps)) == []


def test_a_signal_that_was_hardly_there_is_not_missed():
    assert told(run(600, lambda step: step < RULE.look_samples)) == []


def test_nan_is_data():
    assert told(block_of({"loss": np.full(500, 3.0), "grad_norm": np.full(500, np.nan)})) == []


@pytest.mark.parametrize("cut", [5, 160, 232, 401])
def test_a_judge_that_is_replaced_misses_the_same(cut):
    block = run(600, lambda step: step < 100 or step >= 400)
    assert told(block, cut) == told(block)


def test_its_reason_names_what_is_missing_and_for_how_long():
    detector = Detector(RunContext(), [NoData()])
    (fired,) = detector.judge(run(300, lambda step: step < 100))
    assert fired.reason.startswith("grad_norm came regularly and comes no more, for up to 1")


@pytest.mark.parametrize("cuts", [[], [64, 100, 101, 230, 260]])
def test_from_the_log_it_is_found_the_same_however_it_is_cut(bench, writer, cuts):
    rows = [{"loss": 3.0 - step / 1000, "composite_extra": 1.0} for step in range(400)]
    for row in rows[120:]:
        del row["composite_extra"]
    for _ in write(writer, rows, cuts):
        bench.turns(2)
    found = [one for one in bench.told() if one[0] == "no_data"]
    assert [one[2] for one in found] == ["firing"] and found[0][3] == 271


def test_a_run_of_which_all_pauses_misses_nothing_and_is_not_lost_while_it_is_heard_of(bench, writer):
    """An evaluation of ten minutes: no step comes, heartbeats do."""
    writer.start("loss", "grad_norm")
    writer.send(writer.batch(range(200), np.ones((200, 2))))
    for _ in range(20):
        bench.turns(1)
        bench.clock.now += 30
        bench.set("run-1", heartbeat_at=bench.clock.now)
    writer.send(writer.batch(range(200, 400), np.ones((200, 2))))
    bench.turns(2)
    assert bench.told() == []

"""Judgement depends on steps and values alone."""

import dataclasses
import functools
import itertools

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.server.alerts.life import alert_key
from foreshock.server.detection.case import Case
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.detector import Detector

CONTEXT = RunContext(total_steps=200, config={"connection": "hc"})


def detector():
    return Detector(CONTEXT)


def same(found, expected):
    """Whether transitions are equal, NaN included."""
    encode = msgspec.msgpack.encode
    return encode(found) == encode(expected)


@functools.cache
def dying(traces_type):
    return traces_type.hc_dying().block()


@functools.cache
def whole(traces_type):
    judge = detector()
    return judge.judge(dying(traces_type)), judge.state()


@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(1, 139), max_size=12), restarts=st.sets(st.integers(0, 12)))
def test_any_cutting_and_any_restart_gives_the_same_states_and_alerts(traces_type, cuts, restarts):
    block = dying(traces_type)
    judge, found = detector(), []
    edges = [0, *sorted(set(cuts)), len(block)]
    for number, (start, stop) in enumerate(itertools.pairwise(edges)):
        found += judge.judge(block.part(start, stop))
        if number in restarts:
            stored, judge = judge.state(), detector()
            judge.restore(stored)
    expected, state = whole(traces_type)
    assert same(found, expected)
    assert judge.state() == state


def test_samples_that_were_judged_before_change_nothing(traces_type):
    block = dying(traces_type)
    judge = detector()
    found = judge.judge(block.part(0, 90))
    assert judge.judge(block.part(40, 90)) == []
    assert same(found + judge.judge(block.part(60, len(block))), whole(traces_type)[0])


def test_users_own_series_and_the_order_of_columns_change_nothing(traces_type):
    plain, busy = detector(), detector()
    rows = list(traces_type.hc_dying(num_steps=110).rows())
    found = plain.judge(traces_type.joined(rows))
    turned = [dict([("my/own", 1.0 * step), *reversed(row.items())]) for step, row in enumerate(rows)]
    assert busy.judge(traces_type.joined(turned)) == found
    assert found


def test_the_summary_tells_what_lists_show(traces_type):
    judge = detector()
    judge.judge(dying(traces_type))
    summary = judge.summary
    assert summary["step"] == 139 and summary["died_step"] == 118
    assert summary["loss"] != summary["loss"]  # NaN, as it is
    assert summary["has_layers"] and 0 <= summary["worst_layer"] < 12
    assert summary["first_critical_step"] < 90
    assert 2.4 < summary["final_loss"] < 3.0
    assert summary["peak_composite_log"] > 8


def test_the_state_is_small_enough_to_commit_every_second(traces_type):
    case = Case(0, CONTEXT)
    sent = traces_type.hc_flat(num_steps=400, num_layers=16).block()
    case.advance(dataclasses.replace(sent, values=sent.values.astype(np.float32).astype(np.float64)), 399)
    assert len(case.pack()) < 16 * 1024


def test_alert_keys_tell_alerts_apart():
    parts = [
        ("r", 0, "rule", "s", 5),
        ("r", 1, "rule", "s", 5),
        ("r", 0, "rule", "s", 6),
        ("r", 0, "rul", "es", 5),
    ]
    assert len({alert_key(*part) for part in parts}) == 4

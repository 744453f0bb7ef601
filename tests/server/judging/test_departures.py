"""Departures where people meet them: over HTTP, in the reasons of a forecast, in stored states."""

import dataclasses

import msgspec
import numpy as np
import pytest
from tests.server.judging.bench import judge_all

from foreshock.server.detection.context import RunContext
from foreshock.server.detection.detector import Detector
from foreshock.server.detection.fast.layer import FastLayer

DEPARTURES = "/api/v1/runs/run-1/departures"


@pytest.fixture
def moved():
    """A run at rest, of which one layer's stream leaves at step 100, and comes back nowhere."""
    rng = np.random.default_rng(4)
    rows = []
    for step in range(120):
        row = {"loss": 2.5 + 0.03 * rng.standard_normal(), "grad_norm": np.exp(0.2 * rng.standard_normal())}
        row |= {f"stream_rms[{layer}]": np.exp(0.01 * rng.standard_normal()) for layer in range(6)}
        if step >= 100:
            row["stream_rms[3]"] *= 1.2
        rows.append({name: float(value) for name, value in row.items()})
    return rows


def test_a_run_that_was_not_judged_yet_has_none(http, writer):
    writer.start("loss")
    told = http.get(DEPARTURES).json()
    assert told["attempt"] is None and told["step"] is None
    assert told["departures"] == [] and told["total"] == told["num_columns"] == 0


def test_what_moves_is_told_as_of_the_newest_judged_step(http, writer, bench, moved):
    judge_all(bench, writer, moved, cuts=(50,), restart=True)
    told = http.get(DEPARTURES).json()
    assert (told["run_id"], told["attempt"], told["step"]) == ("run-1", 0, 119)
    assert told["num_columns"] == 8 and told["threshold"] >= 4
    (one,) = told["departures"]
    assert (one["column"], one["series"], one["layer"]) == ("stream_rms[3]", "stream_rms", 3)
    assert one["since_step"] == 100 and one["step"] == 119 and one["deviations"] > 10
    assert one["value"] == pytest.approx(1.2, rel=0.05) and one["baseline"] == pytest.approx(1, rel=0.01)
    assert one["words"].startswith("stream_rms of layer 3 rose at step 100, ")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=many", "since=3"])
def test_what_cannot_be_asked_for_is_refused(http, writer, problem, query):
    writer.start("loss")
    problem(http.get(f"{DEPARTURES}?{query}"), 422, "invalid")


def test_a_run_that_there_is_not(http, problem):
    problem(http.get("/api/v1/runs/nobody/departures"), 404, "unknown-run")


def test_a_forecast_names_what_moved_first_and_fires_when_it_did(traces, monkeypatch):
    block = traces.hc_dying().block()
    context = RunContext(200, config={"connection": "hc"})
    found = Detector(context).judge(block)
    monkeypatch.setattr(FastLayer, "advance", lambda layer, block: None)
    without = Detector(context).judge(block)
    told = [one.reason for one in found if one.rule == "spike_ahead" and one.state == "firing"]
    assert " Moved first: " in told[0] and " at step " in told[0].split(" Moved first: ")[1]
    assert told[0].split(" Moved first: ")[1].count("deviations") <= 3
    plain = [msgspec.structs.replace(one, reason=one.reason.split(" Moved first: ")[0]) for one in found]
    assert msgspec.msgpack.encode(plain) == msgspec.msgpack.encode(without)


def test_a_state_of_before_there_was_a_fast_layer_goes_on(traces):
    block = traces.hc_dying().block()
    context = RunContext(200, config={"connection": "hc"})
    whole, judge = Detector(context), Detector(context)
    found = whole.judge(block.part(0, 60)) + whole.judge(block.part(60, 140))
    before = judge.judge(block.part(0, 60))
    old = msgspec.msgpack.decode(judge.state())
    del old["fast"]
    for name, state in old["rules"].items():
        fields = msgspec.msgpack.decode(state)
        if name == "no_data":
            del fields["samples"]
            old["rules"][name] = msgspec.msgpack.encode(fields)
    judge = Detector(context)
    judge.restore(msgspec.msgpack.encode(old))
    after = judge.judge(block.part(60, 140))
    assert [(one.rule, one.state, one.step) for one in before + after] == [
        (one.rule, one.state, one.step) for one in found
    ]


def test_the_state_of_256_series_with_every_measure_takes_at_most_16_kib(traces):
    sent = traces.hc_flat(num_steps=600, num_layers=23, composite_every=1).block()
    judge = Detector(RunContext(1500, config={"connection": "hc"}))
    judge.judge(dataclasses.replace(sent, values=sent.values.astype(np.float32).astype(np.float64)))
    assert len(sent.columns.names) >= 256
    assert len(judge.state()) < 16 * 1024

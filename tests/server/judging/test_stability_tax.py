"""The stability tax: when ever stronger clipping or normalisation is a page, and when it is only told."""

import math

from tests.server.judging.test_detection_rules import fired


def test_clipping_ever_harder_for_nothing_is_the_stability_tax(traces):
    def tax(step, row):
        row["loss"] = 2.0 + 0.02 * math.sin(12.9 * step)
        row["clip_coefficient"] = 0.4 * math.exp(-step / 150) * (1 + 0.05 * math.sin(7.1 * step))

    trace = traces.residual(num_steps=600)
    trace.changes.append(tax)
    (alert,) = fired(traces.judge(trace), "exit_stability_tax")
    assert alert.severity == "critical"
    assert "ever less" in alert.reason and "has not improved" in alert.reason


def grow_stream(step, row):
    row["stream_rms[0]"] = math.exp(step / 150) * (1 + 0.05 * math.sin(7.1 * step))


def test_a_growing_stream_is_told_while_the_loss_stands_still_and_pages_once_it_rises(traces):
    def loss(step):
        return (2.0 if step < 500 else 2.0 * math.exp((step - 500) / 1000)) + 0.02 * math.sin(12.9 * step)

    trace = traces.residual(num_steps=900, loss=loss)
    trace.changes.append(grow_stream)
    told = [one for one in traces.judge(trace) if one.rule == "exit_stability_tax" and one.state == "firing"]
    assert [one.severity for one in told] == ["info", "critical"]
    assert told[0].step < 500 < told[1].step
    assert "has not improved" in told[0].reason
    assert "The loss has risen by" in told[1].reason


def test_clipping_ever_harder_while_the_loss_falls_is_none(traces):
    trace = traces.residual(num_steps=300, loss=lambda step: 5 * math.exp(-step / 200))
    trace.changes.append(lambda step, row: row.update(clip_coefficient=0.4 * math.exp(-step / 150)))
    assert fired(traces.judge(trace), "exit_stability_tax") == []

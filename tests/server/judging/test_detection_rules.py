"""Each of the documents' rules: what it fires on, what it says, and what it keeps silent on."""

import math
import re

import numpy as np
import pytest

from foreshock.server.detection.block import block_of
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.detector import Detector
from foreshock.server.detection.forecast.channels import CHANNELS
from foreshock.server.detection.rules import default_rules


def fired(transitions, rule):
    return [one for one in transitions if one.rule == rule and one.state == "firing"]


def states(transitions, rule):
    return [(one.state, one.step) for one in transitions if one.rule == rule]


@pytest.mark.parametrize("composite_every", [1, 5, 10])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_dying_hc_run_is_told_to_exit_tens_of_steps_before_its_loss_dies(traces, seed, composite_every):
    found = traces.judge(traces.hc_dying(seed=seed, composite_every=composite_every), total_steps=200)
    (exit_alert,) = fired(found, "exit_amax")
    assert exit_alert.severity == "critical"
    assert exit_alert.step <= 118 - 25
    assert exit_alert.step - exit_alert.opened_step >= 10  # its patience: 5 % of 200 steps
    assert (
        "over 10" in exit_alert.reason
        and "Mann-Kendall p" in exit_alert.reason
        and "loss is" in exit_alert.reason
    )
    assert "learning rate" in exit_alert.advice


def test_the_headroom_of_a_dying_run_is_extrapolated_to_its_overflow(traces):
    alert, nearer = fired(traces.judge(traces.hc_dying(), total_steps=200), "headroom_running_out")
    assert [(one.claim, one.severity) for one in (alert, nearer)] == [
        ("event", "warning"),
        ("event", "critical"),
    ]
    assert 0 <= 118 - nearer.step <= 25
    assert 20 <= 118 - alert.step <= 60
    assert abs(alert.step + alert.value - 113) <= 8


def test_the_time_bomb_is_told_while_the_loss_converges(traces):
    (alert,) = fired(traces.judge(traces.hc_dying(), total_steps=200), "time_bomb")
    assert alert.step < 118 - 30
    assert alert.claim == "structural"
    assert "still converges" in alert.reason


def test_the_first_non_finite_signal_is_named_beside_the_dead_loss(traces):
    found = fired(traces.judge(traces.hc_dying(), total_steps=200), "nonfinite")
    by_subject = {one.subject: one for one in found}
    assert by_subject["loss"].severity == "critical" and by_subject["loss"].step == 118
    assert "layer_amax_forward_mean[0]" in by_subject["loss"].reason or (
        "grad_norm" in by_subject["loss"].reason
    )
    assert "NaN at step 118" in by_subject["signals"].reason


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_steps", [200, 1200])
def test_healthy_runs_are_silent(traces, seed, num_steps):
    for trace, said in (
        (traces.mhc(seed=seed, num_steps=num_steps), {"config": {"connection": "mhc"}}),
        (traces.residual(seed=seed, num_steps=num_steps), {"config": {"connection": "residual"}}),
        (traces.hc_flat(seed=seed, num_steps=num_steps), {"config": {"connection": "hc"}}),
    ):
        assert [one for one in traces.judge(trace, **said) if one.state == "firing"] == []


def test_a_run_of_loss_alone_without_a_known_length_is_judged(traces):
    assert traces.judge(traces.residual(num_steps=300), total_steps=None) == []


def test_a_rise_that_turns_back_within_the_patience_never_fires(traces):
    def bump(step):
        return math.log(14) * math.exp(-(((step - 300) / 40) ** 2))

    trace = traces.Trace(num_steps=1000, log_gain=bump, composite_every=1)
    found = traces.judge(trace, config={"connection": "hc"})
    assert fired(found, "exit_amax") == []


def test_the_exit_resolves_once_the_gain_is_back(traces):
    def hill(step):
        return math.log(40) * math.exp(-(((step - 100) / 45) ** 2))

    found = traces.judge(traces.Trace(num_steps=300, log_gain=hill, composite_every=1), total_steps=300)
    assert [state for state, _ in states(found, "exit_amax")] == ["pending", "firing", "resolved"]
    assert "under 10" in [one for one in found if one.rule == "exit_amax"][-1].reason


def test_a_logged_schedule_change_restarts_the_patience_and_is_told(traces):
    trace = traces.hc_dying(composite_every=1)
    without = fired(traces.judge(trace, total_steps=200), "exit_amax")[0]
    changed = fired(traces.judge(trace, total_steps=200, schedule=(60, "learning_rate 0.01")), "exit_amax")[0]
    assert changed.step > without.step
    assert changed.step >= 60 + 10
    assert "step 60 (learning_rate 0.01)" in changed.reason
    assert "No logged schedule change" in without.reason


def test_a_ramp_of_schedule_changes_does_not_put_an_exit_off_for_ever(traces):
    block = traces.hc_dying(composite_every=1).block()
    detector = Detector(RunContext(total_steps=200))
    found = []
    for step in range(0, len(block), 5):
        detector.note_schedule(step, "learning_rate")
        found += detector.judge(block.part(step, step + 5))
    assert fired(found, "exit_amax")


def test_layer_0_first_and_the_spread_is_told_in_the_order_of_triage(traces):
    def canary(step, row):
        for layer in range(12):
            for way in ("forward", "backward"):
                begin = 30 + 6 * layer
                row[f"layer_amax_{way}_mean[{layer}]"] = 1.0 if step < begin else 1.2 + 0.01 * (step - begin)

    trace = traces.Trace(num_steps=150, changes=[canary])
    (alert,) = fired(traces.judge(trace), "canary_spread")
    assert alert.subject == "layer 0" and alert.claim == "structural"
    words = alert.reason
    assert "at step 30" in words and "6 steps before the first follower" in words
    order = [words.index(part) for part in ("embedding RMS", "layer 0's gain", "normalisation")]
    assert order == sorted(order)


def test_a_canary_that_turns_nan_is_not_back_inside_its_band(traces):
    def dies(step, row):
        for layer in range(12):
            begin = 30 + 6 * layer
            gain = 1.0 if step < begin else 1.2 + 0.01 * (step - begin)
            for way in ("forward", "backward"):
                row[f"layer_amax_{way}_mean[{layer}]"] = gain if step < 120 else float("nan")

    trace = traces.Trace(num_steps=150, changes=[dies])
    told = [one for one in traces.judge(trace) if one.rule == "canary_spread"]
    assert [one.state for one in told][-1] == "firing"


def test_layers_that_move_before_layer_0_are_no_canary(traces):
    def last_first(step, row):
        for layer in range(12):
            begin = 100 - 6 * layer
            row[f"layer_amax_forward_mean[{layer}]"] = 1.0 if step < begin else 1.5
            row[f"layer_amax_backward_mean[{layer}]"] = 1.0

    trace = traces.Trace(num_steps=150, changes=[last_first])
    assert fired(traces.judge(trace), "canary_spread") == []


@pytest.mark.parametrize(
    ("column", "value", "words", "severity"),
    [
        ("layer_row_error_max[3]", 3e-4, "exact axis is off: row sums of layer 3", "critical"),
        ("layer_column_error_max[5]", 0.4, "truncated axis is off: column sums of layer 5", "warning"),
        ("layer_norm_two_max[2]", 1.2, "Layer 2 can amplify", "warning"),
        ("layer_negativity_max[1]", 1e-3, "Layer 1 has an entry of -0.001", "critical"),
    ],
)
def test_each_broken_bound_is_told_of_constrained_runs_only(traces, column, value, words, severity):
    trace = traces.mhc(num_steps=60)
    trace.changes.append(lambda step, row: row.update({column: value}) if step >= 30 else None)
    declared = fired(traces.judge(trace, constraint="doubly_stochastic"), "constraint_broken")
    found = fired(traces.judge(trace, config={"connection": "mhc"}), "constraint_broken")
    assert [one.step for one in declared] == [one.step for one in found] == [32]
    assert words in declared[0].reason
    assert declared[0].severity == severity
    assert fired(traces.judge(trace, config={"connection": "hc"}), "constraint_broken") == []
    refused = traces.judge(trace, constraint="none", config={"connection": "mhc"})
    assert fired(refused, "constraint_broken") == []


def test_the_exact_axis_may_be_either_one(traces):
    trace = traces.mhc(num_steps=40)

    def swap(step, row):
        for layer in range(12):
            row[f"layer_row_error_max[{layer}]"], row[f"layer_column_error_max[{layer}]"] = 0.02, 2e-7

    trace.changes.append(swap)
    assert fired(traces.judge(trace, constraint="doubly_stochastic"), "constraint_broken") == []


def test_a_vanishing_signal_is_told_where_it_vanishes(traces):
    trace = traces.mhc(num_steps=80, composite_every=1)

    def vanish(step, row):
        row["composite_smallest_sum_mean[7]"] = max(0.02, 1 - 0.03 * step)
        row["stream_rms[11]"] = max(0.05, 1 - 0.03 * step)

    trace.changes.append(vanish)
    found = fired(traces.judge(trace), "vanishing")
    assert {one.subject for one in found} == {"composite", "stream"}
    assert any("up to layer 7" in one.reason for one in found)
    assert any("at layer 11" in one.reason for one in found)


def spike(at, height, length):
    def change(step, row):
        if at <= step < at + length:
            row["loss"] += height

    return change


def test_a_loss_spike_is_told_within_three_steps_and_resolves(traces):
    trace = traces.residual(num_steps=400)
    trace.changes.append(spike(250, 1.0, 12))
    found = traces.judge(trace)
    assert [state for state, _ in states(found, "loss_spike")] == ["pending", "firing", "resolved"]
    assert states(found, "loss_spike")[1][1] <= 253
    assert "standard deviations" in fired(found, "loss_spike")[0].reason


def test_a_lone_high_loss_is_a_blip_and_never_fires(traces):
    trace = traces.residual(num_steps=400)
    trace.changes.append(spike(250, 1.0, 1))
    assert [state for state, _ in states(traces.judge(trace), "loss_spike")] == ["pending", "resolved"]


def test_a_spike_does_not_enter_its_own_baseline(traces):
    trace = traces.residual(num_steps=500)
    trace.changes += [spike(250, 1.0, 30), spike(300, 1.0, 10)]
    assert [step for state, step in states(traces.judge(trace), "loss_spike") if state == "firing"] == [
        pytest.approx(252, abs=1),
        pytest.approx(302, abs=1),
    ]


def test_a_level_that_stays_becomes_the_new_baseline(traces):
    trace = traces.residual(num_steps=900)
    trace.changes.append(spike(250, 1.0, 900))
    found = traces.judge(trace)
    assert [state for state, _ in states(found, "loss_spike")] == ["pending", "firing", "resolved"]


def test_gradients_of_a_skipped_step_are_no_fault(traces):
    trace = traces.residual(num_steps=60)
    trace.changes.append(
        lambda step, row: (
            row.update(step_skipped=1.0, grad_norm=math.inf)
            if step in (0, 1, 7)
            else row.update(step_skipped=0.0)
        )
    )
    assert fired(traces.judge(trace), "nonfinite") == []


def test_infinite_headroom_is_told_with_its_sign(traces):
    trace = traces.residual(num_steps=40)
    trace.changes.append(lambda step, row: row.update(headroom_bits=-math.inf) if step == 9 else None)
    (alert,) = fired(traces.judge(trace), "nonfinite")
    assert "headroom_bits is -Inf at step 9" in alert.reason


def test_a_composite_beyond_float32_is_judged_by_its_carried_logarithm(traces):
    rows = []
    for step in range(120):
        log_gain = 60 + 0.5 * step
        overflown = log_gain > math.log(3e38)
        value = math.inf if overflown else math.exp(log_gain)
        row = {"loss": 3 - 0.01 * step, "composite_amax_forward_mean[0]": value}
        rows.append(row | {"log_composite_amax_forward_mean[0]": log_gain})
    detector = Detector(RunContext(total_steps=120))
    assert fired(detector.judge(traces.joined(rows)), "exit_amax")
    assert detector.summary["composite_forward"] == pytest.approx(math.exp(60 + 0.5 * 119))


def test_every_rule_says_what_was_seen_and_what_to_do(traces):
    found = traces.judge(traces.hc_dying(composite_every=1), total_steps=200)
    assert {one.rule for one in found} >= {"exit_amax", "headroom_running_out", "time_bomb", "nonfinite"}
    for one in found:
        assert one.reason.endswith(".") and any(letter.isdigit() for letter in one.reason)
        assert len(one.advice) > 20


def test_rule_names_are_unique():
    names = [rule.name for rule in default_rules()]
    assert len(set(names)) == len(names)


def test_any_rubbish_of_numbers_is_judged_without_an_error(traces):
    rng = np.random.default_rng(7)
    trace = traces.mhc(num_steps=150, composite_every=1)

    def rubbish(step, row):
        for name in row:
            kind = rng.integers(0, 12)
            if kind < 4:
                row[name] = (math.nan, math.inf, -math.inf, 0.0)[kind]
            elif kind == 4:
                row[name] *= -1e30

    trace.changes.append(rubbish)
    found = traces.judge(trace, constraint="doubly_stochastic")
    assert {"nonfinite", "constraint_broken"} <= {one.rule for one in found}
    for one in found:
        assert 0 <= one.step < 150 and one.reason and "Traceback" not in one.reason


def headroom_alerts(bits, total_steps=None):
    detector = Detector(RunContext(total_steps=total_steps))
    return fired(detector.judge(block_of({"headroom_bits": bits})), "headroom_running_out")


def test_growth_that_levels_off_is_no_forecast_of_overflow():
    steps = np.arange(300)
    assert headroom_alerts(15.9 - 8.5 * (1 - np.exp(-steps / 30))) == []


def test_steady_growth_is_and_stays_told_while_little_is_left():
    bits = np.maximum(15.9 - 0.2 * np.arange(200), 2.0)
    alert, nearer = headroom_alerts(bits)
    assert alert.severity == "warning" and 39 <= alert.step <= 46
    assert nearer.severity == "critical" and 58 <= nearer.step <= 64
    assert "overflow comes in some" in alert.reason


def test_an_overflow_after_the_runs_last_step_is_none():
    bits = 15.9 - 0.1 * np.arange(100)
    assert headroom_alerts(bits, total_steps=100) == []
    assert headroom_alerts(bits, total_steps=1000) != []


# Words that must not contradict themselves


def test_the_end_of_vanishing_does_not_say_that_little_is_left(traces):
    def vanish(step, row):
        for name in row:
            if name.startswith("composite_smallest_sum"):
                row[name] = 0.05 if step < 100 else 0.182

    found = traces.judge(traces.Trace(changes=[vanish]))
    reasons = {one.state: one.reason for one in found if one.subject == "composite"}
    assert reasons["firing"].endswith("under 0.1: no more of the signal is left.")
    assert reasons["resolved"].endswith("is 0.182 (mean over tokens), no longer under 0.1.")


def test_a_loss_that_fails_alone_is_not_sent_to_another_alert(traces):
    def fail(step, row):
        if 50 <= step < 70:
            row["loss"] = math.nan

    found = [one for one in traces.judge(traces.Trace(changes=[fail])) if one.rule == "nonfinite"]
    assert [(one.subject, one.state) for one in found] == [("loss", "firing"), ("loss", "resolved")]
    assert {"No other signal" in one.advice and "other alert" not in one.advice for one in found} == {True}


def test_the_time_bombs_numbers_are_of_one_basis(traces):
    (alert,) = fired(traces.judge(traces.hc_dying(), total_steps=200), "time_bomb")
    match = re.search(r"from ([\d.]+) to ([\d.]+), medians .* (\d+)% down", alert.reason)
    before, after, percent = map(float, match.groups())
    assert percent == pytest.approx(100 * (1 - after / before), abs=0.6)


# What the reasons say of the way there, and of what stood against it


def test_an_exit_says_how_far_how_surely_how_soon_and_what_did_not_help(traces):
    config = {"stream_dtype": "float16", "optimizer_weight_decay": 0.1}
    (alert,) = fired(traces.judge(traces.hc_dying(), total_steps=200, config=config), "exit_amax")
    told = re.search(
        r"Composite amax (forward|backward) \(mean over tokens\), worst at layer 11, is [\d.]+, over 10, and "
        r"has risen [\d.]+-fold in \d+ steps \(x1\.\d+ a step, \d+ samples, "
        r"Mann-Kendall p (< 1e-6|= \de-\d+)\), doubling every \d+ steps\. "
        r"At this pace the residual stream would pass fp16's range in about "
        r"(\d+) steps\. Clipping \(\d+ % of the steps, down to 0\.\d+ of the gradient\) and weight decay "
        r"\(0\.1\) did not reverse it\. No logged schedule change explains it\.",
        alert.reason,
    )
    assert told, alert.reason
    assert abs(alert.step + int(told[3]) - 113) <= 8
    grounds = alert.grounds
    assert (grounds.signal, grounds.layer) == (f"composite_amax_{told[1]}_mean", 11)
    assert round(grounds.eta_steps) == int(told[3])


@pytest.mark.parametrize(
    ("clip", "config", "words"),
    [
        (1.0, {}, "Clipping never took hold. Weight decay is not declared."),
        (None, {"optimizer_weight_decay": 0.0}, "Clipping is not measured. There is no weight decay."),
        (0.5, {}, "Clipping (100 % of the steps, down to 0.5 of the gradient) did not reverse it. Weight"),
        (None, {"weight_decay": 0.1}, "Weight decay (0.1) did not reverse it. Clipping is not measured."),
    ],
)
def test_what_stood_against_a_rise_is_told_as_it_was(traces, clip, config, words):
    def clipping(step, row):
        del row["clip_coefficient"]
        if clip is not None:
            row["clip_coefficient"] = clip

    trace = traces.hc_dying()
    trace.changes.append(clipping)
    (alert,) = fired(traces.judge(trace, total_steps=200, config=config), "exit_amax")
    assert words in alert.reason
    assert "its dtype's range" in alert.reason


def test_a_rise_that_overflow_is_far_from_says_so(traces):
    trace = traces.hc_dying()
    trace.changes.append(lambda step, row: row.update(headroom_bits=12.0))
    (alert,) = fired(traces.judge(trace, total_steps=200), "exit_amax")
    assert "is 12.0 doublings from the end of its dtype's range, and comes no nearer" in alert.reason
    assert alert.grounds.eta_steps is None


GROUNDS = {
    "exit_amax": {"composite_amax_forward_mean", "composite_amax_backward_mean", "canary_gain"},
    "time_bomb": {"composite_amax_forward_mean", "composite_amax_backward_mean"},
    "headroom_running_out": {"headroom_bits"},
    "canary_spread": {"canary_gain"},
    "constraint_broken": {"layer_row_error_max", "layer_column_error_max"},
    "nonfinite": {"loss", "grad_norm", "layer_amax_forward_mean"},
    "vanishing": {"composite_smallest_sum_mean", "stream_rms"},
    "exit_stability_tax": {"clip_coefficient", "stream_rms"},
    "loss_spike": {"loss"},
}


def test_every_rule_gives_its_grounds(traces):
    def trouble(step, row):
        if step >= 100:
            row["layer_row_error_max[3]"] = 0.5
        if step >= 60:
            row["stream_rms[11]"] = 0.01

    trace = traces.hc_dying(composite_every=1)
    trace.changes.append(trouble)
    found = traces.judge(trace, total_steps=200, constraint="doubly_stochastic")
    spiking = traces.residual(num_steps=400)
    spiking.changes.append(spike(250, 1.0, 12))
    taxed = traces.residual(num_steps=600, loss=lambda step: 2.0 + 0.02 * math.sin(12.9 * step))
    taxed.changes.append(lambda step, row: row.update(clip_coefficient=0.4 * math.exp(-step / 150)))
    found += traces.judge(spiking) + traces.judge(taxed)
    opened = [one for one in found if one.state in ("pending", "firing")]
    assert {one.rule for one in opened} >= GROUNDS.keys() - {"canary_spread"}
    forecast = {series for channel in CHANNELS for series in channel.series}
    for one in opened:
        known = GROUNDS.get(one.rule, forecast)
        assert one.grounds.signal in known, one

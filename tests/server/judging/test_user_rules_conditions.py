"""What each kind of condition waits for, to the step."""

import itertools
import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.judging.conftest import joined

from foreshock.server.detection.context import RunContext
from foreshock.server.detection.detector import Detector
from foreshock.server.detection.user_rules.book import read_rules
from foreshock.server.detection.user_rules.user_rule import UserRule

SETTINGS = {"own_series": {"mine": "scalar", "map": "per_layer"}}


def rules(*entries, **top):
    """The user's rules of a file; each entry may leave its name out."""
    named = [{"name": f"r{number}", "signal": "mine", **entry} for number, entry in enumerate(entries)]
    return read_rules(yaml.safe_dump({**SETTINGS, **top, "rules": named}).encode()).own


def row_of(value):
    return value if isinstance(value, dict) else {"mine": float(value)}


def block(values, first=0, times=None):
    """Steps of `mine`, or of what each names; a value of None is a step without the series."""
    rows = [{"loss": 1.0} if value is None else row_of(value) for value in values]
    made = joined(rows, first)
    return replace(made, times=made.steps.astype(float) if times is None else np.array(times, float))


def judge(entry, values, total_steps=None, schedule=None, times=None):
    """Every transition; `schedule` is the step of a logged schedule change."""
    detector = Detector(RunContext(total_steps=total_steps), rules(entry))
    made = block(values, times=times)
    cut = len(made) if schedule is None else schedule
    found = detector.judge(made.part(0, cut))
    if schedule is not None:
        detector.note_schedule(schedule, "learning_rate")
    return found + detector.judge(made.part(cut, len(made)))


def states(found):
    return [(one.state, one.step) for one in found]


def pulse(length, start, stop, high=12.0, low=1.0):
    return [high if start <= step < stop else low for step in range(length)]


def test_above_fires_at_the_first_step_and_resolves_at_the_first_clear_one():
    found = judge({"when": {"above": 10}}, pulse(40, 20, 30))
    assert states(found) == [("firing", 20), ("resolved", 30)]
    assert found[0].reason == "mine is 12, above 10."
    assert (found[0].value, found[0].subject, found[0].grounds.signal) == (12.0, "mine", "mine")


def test_a_value_at_the_threshold_has_not_passed_it():
    assert judge({"when": {"above": 12}}, pulse(40, 20, 30)) == []
    assert judge({"when": {"below": 1}}, pulse(40, 20, 30)) == []


def test_below_waits_for_the_other_direction():
    assert states(judge({"when": {"below": 2}}, pulse(9, 3, 5, high=1.5, low=3.0))) == [
        ("firing", 3),
        ("resolved", 5),
    ]


def test_for_in_steps_must_pass_without_a_break():
    entry = {"when": {"above": 10}, "for": "5 steps"}
    values = pulse(40, 10, 30)
    assert states(judge(entry, values)) == [("pending", 10), ("firing", 15), ("resolved", 30)]
    values[13] = 1.0
    assert states(judge(entry, values))[:4] == [
        ("pending", 10),
        ("resolved", 13),
        ("pending", 14),
        ("firing", 19),
    ]


def test_for_as_a_share_of_the_run_and_of_a_run_of_unknown_length():
    entry = {"when": {"above": 10}, "for": "5%"}
    assert states(judge(entry, [12.0] * 300, total_steps=400))[1] == ("firing", 20)
    assert states(judge(entry, [12.0] * 300))[1] == ("firing", 200)


def test_for_in_seconds_goes_by_the_samples_own_times():
    entry = {"when": {"above": 10}, "for": "30 s", "clear": {"for": "1 min"}}
    times = [10.0 * step for step in range(40)]
    found = judge(entry, pulse(40, 10, 20), times=times)
    assert states(found) == [("pending", 10), ("firing", 13), ("resolved", 26)]
    without_times = judge(entry, [12.0] * 40, times=[0.0] * 40)
    assert states(without_times) == [("pending", 0)]


def test_hysteresis_keeps_what_lies_between():
    entry = {"when": {"above": 10}, "clear": {"below": 8, "for": "3 steps"}}
    values = [12.0] * 5 + [9.0] * 5 + [7.0, 9.0] + [7.0] * 6
    assert states(judge(entry, values)) == [("firing", 0), ("resolved", 15)]


def test_between_breaks_the_patience_of_what_is_pending():
    entry = {"when": {"above": 10}, "clear": {"below": 8}, "for": "5 steps"}
    assert states(judge(entry, [12, 12, 9, 12, 12, 12, 12])) == [
        ("pending", 0),
        ("resolved", 2),
        ("pending", 3),
    ]


@pytest.mark.parametrize("sign", [1, -1])
def test_rises_and_falls_by_trend_and_says_so(sign):
    """Half a window must have been seen, and it is tested twenty times a window: every other step."""
    key, by = ("rises", "20%") if sign > 0 else ("falls", "10%")
    values = [math.exp(sign * 0.05 * step) for step in range(60)]
    found = judge({"when": {key: {"by": by, "within": "40 steps"}}}, values)
    assert states(found) == [("firing", 20)]
    word = "risen 172 %" if sign > 0 else "fallen 63.2 %"
    assert f"has {word} in 20 steps (21 samples, Mann-Kendall p < 1e-6)" in found[0].reason
    other = "falls" if sign > 0 else "rises"
    assert judge({"when": {other: {"by": "1%", "within": "40 steps"}}}, values) == []


def test_a_trend_by_an_absolute_amount_resolves_when_it_is_over():
    values = [-5.0 + 0.1 * min(step, 100) for step in range(300)]
    found = judge({"when": {"rises": {"by": 2, "within": "100 steps"}}}, values)
    assert states(found)[0] == ("firing", 50)
    assert states(found)[1][0] == "resolved" and 150 <= found[1].step <= 190


def test_noise_has_no_trend():
    rng = np.random.default_rng(3)
    values = np.exp(0.05 * rng.standard_normal(2000))
    assert judge({"when": {"rises": {"by": "10%", "within": "200 steps"}}}, values) == []


def test_no_test_looks_back_over_a_schedule_change():
    values = [1.0] * 50 + [2.0] * 100
    entry = {"when": {"changes": {"by": "50%", "within": "20 steps"}}}
    assert states(judge(entry, values)) == [("firing", 50), ("resolved", 70)]
    assert judge(entry, values, schedule=50) == []


def test_changes_compares_with_the_value_a_window_ago():
    values = [100.0 - step for step in range(80)]
    found = judge({"when": {"changes": {"by": "-50%", "within": "50 steps"}}}, values)
    assert states(found) == [("firing", 50)]
    assert found[0].reason == "mine is 50, 100 at step 0: -50 % in 50 steps."
    assert states(judge({"when": {"changes": {"by": -20.0, "within": "20 steps"}}}, values)) == [
        ("firing", 20)
    ]
    assert judge({"when": {"changes": {"by": -21.0, "within": "20 steps"}}}, values) == []


def test_a_long_window_is_remembered_in_a_hundred_samples():
    entry = {"when": {"changes": {"by": 900, "within": "1000 steps"}}}
    detector = Detector(RunContext(), rules(entry))
    found = detector.judge(block(range(3000)))
    assert states(found) == [("firing", 1000)]
    assert len(detector._states["r0"].steps) <= 102


def test_deviates_from_its_own_baseline_which_it_does_not_enter():
    rng = np.random.default_rng(0)
    values = 5 + 0.1 * rng.standard_normal(300)
    values[200:210] += 2.0
    entry = {"when": {"deviates": {"z": 8, "within": "100 steps"}}, "clear": {"z": 4}}
    found = judge(entry, values)
    assert states(found) == [("firing", 200), ("resolved", 210)]
    assert "standard deviations over its own baseline of 4.96" in found[0].reason
    assert judge({"when": {"deviates": {"z": -8, "within": "100 steps"}}}, values) == []


def test_a_level_that_stays_becomes_the_baseline():
    rng = np.random.default_rng(1)
    values = 5 + 0.1 * rng.standard_normal(500)
    values[200:] += 2.0
    found = judge({"when": {"deviates": {"z": 8, "within": "100 steps"}}}, values)
    assert [one.state for one in found] == ["firing", "resolved"]
    assert 280 <= found[1].step <= 320


def test_missing_counts_from_the_last_time_it_was_seen():
    values = [1.0] * 10 + [None] * 20 + [1.0] * 5
    found = judge({"when": {"missing": "8 steps"}}, values)
    assert states(found) == [("firing", 17), ("resolved", 30)]
    assert found[0].reason == "mine was last measured at step 9, 8 steps ago."
    assert found[0].value is None


def test_a_series_that_the_run_never_measures_is_not_missing():
    assert judge({"when": {"missing": "8 steps"}}, [None] * 50) == []


def test_nonfinite_is_told_at_its_step():
    values = [1.0] * 5 + [math.nan, math.inf] + [2.0] * 3
    assert states(judge({"when": {"nonfinite": True}}, values)) == [("firing", 5), ("resolved", 7)]


def test_eta_draws_the_trend_on_to_the_threshold():
    values = [math.exp(0.02 * step) for step in range(230)]
    entry = {"when": {"eta": {"above": math.exp(4), "within": "51 steps", "over": "40 steps"}}}
    found = judge(entry, values)
    assert states(found) == [("firing", 150)]
    assert found[0].grounds.eta_steps == pytest.approx(50)
    assert "in some 50 steps, near step 200" in found[0].reason
    falling = [10 - 0.1 * step for step in range(200)]
    below = {"when": {"eta": {"below": -5, "within": "21 steps", "over": "40 steps"}}}
    assert states(judge(below, falling)) == [("firing", 130)]


def test_growth_that_levels_off_reaches_nothing():
    values = [10 * (1 - math.exp(-step / 20)) + 1 for step in range(300)]
    entry = {"when": {"eta": {"above": 12, "within": "10 steps", "over": "60 steps"}}}
    assert judge(entry, values) == []


@pytest.mark.parametrize(
    ("layers", "reduce", "fired", "layer"),
    [
        ("worst", None, 30, 5),
        ("all", "max", 30, 5),
        ("all", "min", None, None),
        ("all", "mean", 34, None),
        (0, None, None, None),
        ("last", None, 42, 9),
        ("5", None, 30, 5),
        ("0-3", "max", None, None),
        (["0-3", 5], "max", 30, 5),
        (["0-3", "last"], "max", 42, 9),
    ],
)
def test_layers_and_their_reduction(layers, reduce, fired, layer):
    """Of layers 0, 1, 2, 5 and 9 the fifth rises from step 30 on, the ninth from step 42."""

    def row(step):
        values = {0: 1.0, 1: 1.0, 2: 1.0, 5: 11.0 + 10 * (step - 30) if step >= 30 else 1.0}
        values[9] = 11.0 if step >= 42 else 1.0
        return {f"map[{number}]": value for number, value in values.items()}

    entry = {"signal": "map", "layers": layers, "when": {"above": 10}}
    found = judge(entry | ({} if reduce is None else {"reduce": reduce}), [row(step) for step in range(50)])
    assert states(found) == ([] if fired is None else [("firing", fired)])
    if found:
        assert found[0].grounds.layer == layer
        if layer is not None:
            assert f"map of layer {layer}" in found[0].reason


def test_the_worst_layer_is_the_lowest_where_low_is_worse():
    values = [{"map[0]": 1.0, "map[3]": 1.0 - 0.1 * step} for step in range(10)]
    found = judge({"signal": "map", "when": {"below": 0.45}}, values)
    assert states(found) == [("firing", 6)] and found[0].grounds.layer == 3


def test_a_nan_layer_leaves_the_others_to_speak():
    values = [{"map[0]": math.nan, "map[1]": 12.0}] * 3
    assert states(judge({"signal": "map", "when": {"above": 10}}, values)) == [("firing", 0)]
    assert judge({"signal": "map", "when": {"above": 10}}, [{"map[0]": math.nan}] * 3) == []


def test_a_ratio_of_two_signals():
    values = [{"mine": 10.0, "loss": 2.0 - 0.1 * step} for step in range(15)]
    found = judge({"signal": "mine / loss", "when": {"above": 9.5}}, values)
    assert states(found) == [("firing", 10)]
    assert found[0].reason == "mine / loss is 10, above 9.5."
    per_layer = [{"map[0]": 1.0, "map[2]": 4.0, "stream_rms[0]": 1.0, "stream_rms[2]": 2.0}] * 3
    found = judge({"signal": "map / stream_rms", "when": {"above": 1.5}}, per_layer)
    assert found[0].grounds.layer == 2 and found[0].value == 2.0
    over_scalar = [{"map[0]": 1.0, "map[2]": 4.0, "loss": 2.0}] * 3
    assert judge({"signal": "map / loss", "when": {"above": 1.5}}, over_scalar)[0].value == 2.0
    under_scalar = [{"map[0]": 1.0, "map[2]": 4.0, "loss": 2.0}] * 3
    assert judge({"signal": "loss / map", "when": {"above": 1.5}}, under_scalar)[0].value == 2.0
    by_zero = [{"mine": 1.0, "loss": 0.0}, {"mine": 0.0, "loss": 0.0}, {"mine": 1.0}]
    assert states(judge({"signal": "mine / loss", "when": {"above": 5}}, by_zero)) == [("firing", 0)]


def test_a_rule_judges_only_between_its_steps():
    entry = {"when": {"above": 10}, "schedule": {"from": "10 steps", "until": "50%"}}
    found = judge(entry, [12.0] * 60, total_steps=60)
    assert states(found) == [("firing", 10), ("resolved", 30)]
    assert states(judge(entry, [12.0] * 60)) == [("firing", 10)]


def test_a_schedule_change_is_given_time():
    entry = {"when": {"above": 10}, "for": "4 steps", "schedule": {"ignore_after_change": "20 steps"}}
    assert states(judge(entry, pulse(80, 31, 80), schedule=30)) == [("pending", 50), ("firing", 54)]
    assert states(judge(entry, pulse(80, 28, 80), schedule=30)) == [("pending", 28), ("firing", 54)]


def test_severity_claim_labels_and_texts_go_with_the_alert():
    entry = {
        "when": {"above": 10},
        "severity": "critical",
        "claim": "structural",
        "labels": {"team": "routing"},
        "summary": "Far too much.",
        "advice": "Look there.",
    }
    first, last = judge(entry, pulse(9, 3, 5))
    assert (first.severity, first.claim, first.labels) == ("critical", "structural", {"team": "routing"})
    assert first.reason == "Far too much. mine is 12, above 10." and first.advice == "Look there."
    assert last.labels == {"team": "routing"}


def inhibiting(low, high):
    """`low` fires over 5 and is held back by `high`, which fires over 10 of another series."""
    return rules(
        {"name": "low", "when": {"above": 5}, "inhibited_by": ["high"], **low},
        {"name": "high", "signal": "loss", "when": {"above": 10}, **high},
    )


def judge_both(book, mine, loss):
    detector = Detector(RunContext(), book)
    rows = [{"mine": float(a), "loss": float(b)} for a, b in zip(mine, loss, strict=True)]
    found = detector.judge(block(rows))
    return [(one.rule, one.state, one.step) for one in found]


def test_a_rule_that_fires_holds_another_back_from_the_same_step_on():
    book = inhibiting({}, {})
    assert [rule.name for rule in book] == ["high", "low"]
    found = judge_both(book, [6] * 30, [12] * 10 + [1] * 20)
    assert found == [("high", "firing", 0), ("high", "resolved", 10), ("low", "firing", 10)]


def test_what_is_pending_inhibits_nothing_and_what_fires_already_stays():
    book = inhibiting({}, {"for": "5 steps"})
    found = judge_both(book, [6] * 20 + [1] * 5, [12] * 25)
    assert found == [
        ("high", "pending", 0),
        ("low", "firing", 0),
        ("high", "firing", 5),
        ("low", "resolved", 20),
    ]


def test_what_is_pending_does_not_fire_while_it_is_inhibited():
    book = inhibiting({"for": "5 steps"}, {})
    found = judge_both(book, [6] * 30, [1] * 3 + [12] * 10 + [1] * 17)
    assert ("low", "pending", 0) in found and ("low", "firing", 13) in found


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 2**31), st.sampled_from([("worst", None), ("all", "mean"), ("all", "min"), ("0-1", "max")])
)
def test_a_threshold_is_asked_only_where_it_is_passed_and_finds_the_same(seed, chosen):
    rng = np.random.default_rng(seed)
    values = np.exp(rng.standard_normal((200, 3)))
    values[rng.random(values.shape) < 0.05] = np.nan
    made = block([{f"map[{layer}]": row[layer] for layer in range(3)} for row in values])
    layers, reduce = chosen
    entry = {"signal": "map", "layers": layers} | ({} if reduce is None else {"reduce": reduce})
    for when, clear in (
        ({"above": 2}, {"below": 1}),
        ({"below": 0.5}, {"for": "2 steps"}),
        ({"nonfinite": True}, {"for": "2 steps"}),
    ):
        book = rules({**entry, "when": when, "clear": clear, "for": "1 steps"})
        selective, asked = Detector(RunContext(), book), Detector(RunContext(), book)
        found = selective.judge(made)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                UserRule, "loud", lambda self, stretch, state, is_open, start: stretch.every()[start:]
            )
            assert asked.judge(made) == found
        assert asked.state() == selective.state()


KINDS = (
    {"above": 1.5},
    {"rises": {"by": "5%", "within": "30 steps"}},
    {"changes": {"by": "20%", "within": "25 steps"}},
    {"deviates": {"z": 3, "within": "40 steps"}},
    {"missing": "4 steps"},
    {"nonfinite": True},
    {"eta": {"above": 3, "within": "60 steps", "over": "30 steps"}},
)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.integers(1, 149), max_size=6))
def test_cuts_and_restarts_change_nothing(seed, cuts):
    rng = np.random.default_rng(seed)
    values = np.exp(np.cumsum(0.05 * rng.standard_normal(150)))
    values[rng.random(150) < 0.03] = np.nan
    seen = rng.random(150) > 0.1
    made = block([values[step] if seen[step] else None for step in range(150)])
    book = rules(*[{"when": kind, "for": "3 steps", "clear": {"for": "5 s"}} for kind in KINDS])
    whole = Detector(RunContext(), book)
    expected = whole.judge(made)
    cut, found = Detector(RunContext(), book), []
    edges = [0, *sorted(set(cuts)), 150]
    for start, stop in itertools.pairwise(edges):
        found += cut.judge(made.part(start, stop))
        stored, cut = cut.state(), Detector(RunContext(), book)
        cut.restore(stored)
        found += cut.settle()
    encode = msgspec.msgpack.encode
    assert encode(found) == encode(expected)
    assert cut.state() == whole.state()

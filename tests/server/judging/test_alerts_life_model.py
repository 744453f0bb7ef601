"""The life of alerts held against a model that remembers everything and looks it up again each time."""

import math

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.server.alerts import life as alert_life
from foreshock.server.alerts.life import Life, advance
from foreshock.server.detection.rule import Condition, Verdict

H, B, C = Condition.HOLDS, Condition.BETWEEN, Condition.CLEAR
GRAVER = ["info", "warning", "critical"]

conditions = st.sampled_from([H, H, B, C, C])
# Quarters of seconds, which add up without rounding
times = st.one_of(st.integers(0, 12).map(lambda quarters: quarters / 4), st.just(math.nan))
verdicts = st.lists(
    st.tuples(st.integers(1, 9), times, conditions, st.sampled_from(GRAVER)), min_size=1, max_size=120
)
patience = st.fixed_dictionaries(
    {
        "hold_steps": st.integers(0, 12),
        "clear_steps": st.integers(0, 12),
        "lapse_steps": st.none() | st.integers(0, 12),
        "hold_seconds": st.sampled_from([0.0, 0.0, 4.0]),
        "clear_seconds": st.sampled_from([0.0, 0.0, 4.0]),
    }
)


def trace_of(drawn):
    """(step, time, condition, severity): steps rise, times rise where they are any."""
    trace, step, now = [], -1, 1000.0
    for gap, passed, condition, severity in drawn:
        step += gap
        now += 0 if math.isnan(passed) else passed
        trace.append((step, math.nan if math.isnan(passed) else now, condition, severity))
    return trace


def model(trace, rule):
    """(state, step, opened step, severity, flapping) of every transition."""
    found, fired = [], []
    begin = opened = resolved = severity = None
    state, flaps = "resolved", False

    def seconds(first, last):
        """What has passed from verdict to verdict, by the times that there are since it opened."""
        there = [time for _, time, _, _ in trace[begin : last + 1] if not math.isnan(time)]
        before = [time for _, time, _, _ in trace[begin : first + 1] if not math.isnan(time)]
        return 0.0 if not there else there[-1] - (before or there)[-1 if before else 0]

    for place, (step, _, condition, grave) in enumerate(trace):
        was = state
        if state == "resolved" and condition is H:
            begin, state, severity = place, "pending", grave
            if resolved is None or step - resolved > alert_life.REOPEN_STEPS:
                opened = step
        if state == "resolved":
            continue
        begun = trace[begin][0]
        if state == "pending" and condition is H:
            severity = grave
            lasted = step - begun >= rule["hold_steps"], seconds(begin, place) >= rule["hold_seconds"]
            if all(lasted):
                state = "firing"
                lately = [one for one in fired if step - one < alert_life.FLAPPING_WINDOW_STEPS]
                flaps = len(lately) >= alert_life.MAX_FIRINGS
                fired.append(step)
        elif state == "pending":
            held = max(step for step, _, condition, _ in trace[begin:place] if condition is H)
            lapsed = rule["lapse_steps"] is not None and step - held > rule["lapse_steps"]
            if condition is C or lapsed:
                state = "resolved"
        elif condition is C:
            clear = place
            while trace[clear - 1][2] is C:
                clear -= 1
            long = max(rule["clear_steps"], alert_life.FLAPPING_CLEAR_STEPS * flaps)
            if step - trace[clear][0] >= long and seconds(clear, place) >= rule["clear_seconds"]:
                state = "resolved"
        worse = was == state == "firing" and condition is H and GRAVER.index(grave) > GRAVER.index(severity)
        severity = grave if worse else severity
        if state == "resolved":
            resolved, flaps = step, False
        if state != was or worse:
            found.append((state, step, opened, severity, flaps))
    return found


def live(trace, rule, cuts=frozenset()):
    life, found = None, []
    for place, (step, time, condition, severity) in enumerate(trace):
        if place in cuts and life is not None:
            life = msgspec.msgpack.decode(msgspec.msgpack.encode(life), type=Life)
        verdict = Verdict(condition, severity, 1.0, lambda: "Seen.", "Do.", **rule)
        life, changes = advance(life, "rule", "rule", verdict, step, time)
        found += [
            (one.state, one.step, one.opened_step, one.severity, one.is_flapping, one.reason)
            for one in changes
        ]
    return found


@settings(max_examples=400, deadline=None)
@given(verdicts, patience, st.sets(st.integers(0, 119)))
def test_it_lives_as_the_model_does_however_it_is_cut(drawn, rule, cuts):
    trace = trace_of(drawn)
    found = live(trace, rule)
    assert [one[:5] for one in found] == model(trace, rule)
    assert live(trace, rule, cuts) == found


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 9), st.floats(allow_nan=True, allow_infinity=True), conditions, st.just("info")
        ),
        min_size=1,
        max_size=60,
    ),
    patience,
)
def test_whatever_the_times_it_changes_only_as_it_may(drawn, rule):
    step, trace = -1, []
    for gap, time, condition, severity in drawn:
        step += gap
        trace.append((step, time, condition, severity))
    after = {None: {"pending", "firing"}, "pending": {"firing", "resolved"}, "firing": {"resolved"}}
    after["resolved"] = after[None]
    state = None
    for one in live(trace, rule):
        assert one[0] in after[state]
        state = one[0]
    # Without a patience in seconds no time can change anything
    steps_alone = {**rule, "hold_seconds": 0.0, "clear_seconds": 0.0}
    timeless = [(step, 0.0, condition, severity) for step, _, condition, severity in trace]
    assert live(trace, steps_alone) == live(timeless, steps_alone)

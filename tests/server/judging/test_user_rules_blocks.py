"""A user's rules say by blocks of steps what they say when they are asked at every step."""

import math

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.judging.bench import cut_by_cut
from tests.server.judging.test_detection_blocks import AskedAlways

from foreshock.server.detection.block import block_of
from foreshock.server.detection.case import Case, ScheduleChange
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.detector import Detector
from foreshock.server.detection.selective import Following
from foreshock.server.detection.trend import least_score, mann_kendall, pairs, theil_sen
from foreshock.server.detection.user_rules.book import read_rules
from foreshock.server.detection.user_rules.due import DueWindows, hops
from foreshock.server.detection.user_rules.window import Memory

OWN = {"mine": "scalar", "other": "scalar", "map": "per_layer", "below": "per_layer"}
SIGNALS = ("mine", "mine / other", "map", "map / below", "mine / map", "map / other")


def trending(rng, number):
    """A rule that tests a trend, with whatever may go with it."""
    window = str(rng.choice(["7 steps", "15 steps", "40 steps", "130 steps", "10%"]))
    signal = str(rng.choice(SIGNALS))
    p_value = float(rng.choice([1e-3, 0.05, 0.5]))
    entry = {"name": f"r{number}", "signal": signal}
    if "map" in signal or "below" in signal:
        entry["layers"] = str(rng.choice(["worst", "all", "last", "1", "0-1"]))
        if entry["layers"] in ("all", "0-1"):
            entry["reduce"] = str(rng.choice(["max", "min", "mean"]))
    kind = rng.choice(["rises", "falls", "eta"])
    if kind == "eta":
        side = str(rng.choice(["above", "below"]))
        threshold = float(rng.choice([-1.0, 0.5, 1.5, 3.0, 40.0]))
        within = str(rng.choice(["20 steps", "200 steps"]))
        entry["when"] = {"eta": {side: threshold, "within": within, "over": window, "p": p_value}}
    else:
        by = [0, 0.2, 2, "5%", "80%"][rng.integers(0, 5)]
        entry["when"] = {str(kind): {"by": by, "within": window, "p": p_value}}
    entry |= {"for": str(rng.choice(["10 steps", "20 s"]))} if rng.random() < 0.4 else {}
    entry |= {"clear": {"for": str(rng.choice(["30 steps", "30 s"]))}} if rng.random() < 0.4 else {}
    if rng.random() < 0.3:
        entry["schedule"] = {"from": "20 steps", "until": "150 steps", "ignore_after_change": "15 steps"}
    return entry


def rules_of(rng, count=6):
    file = {"own_series": OWN, "rules": [trending(rng, number) for number in range(count)]}
    return list(read_rules(yaml.safe_dump(file).encode()).own)


def wild(rng, num_steps):
    """Series that rise and fall, are tied, absent, not positive, or not finite."""
    steps = np.cumsum(rng.choice([1, 1, 1, 3, 11], num_steps))
    series, present = {"loss": np.ones(num_steps)}, {}
    for name in ("mine", "other", *(f"{one}[{layer}]" for one in ("map", "below") for layer in range(3))):
        wander = np.cumsum(rng.standard_normal(num_steps)) * rng.choice([0.0, 0.03, 0.2])
        values = np.exp(rng.uniform(-0.02, 0.02) * np.arange(num_steps) + wander)
        values += 0.02 * rng.standard_normal(num_steps) * rng.integers(0, 2)
        if rng.random() < 0.3:
            values = np.round(values * 2) / 2
        if rng.random() < 0.2:
            values -= 1.0
        for value in (math.nan, math.inf, -math.inf, 0.0):
            if rng.random() < 0.2:
                values[rng.integers(0, num_steps, 3)] = value
        series[name] = values
        if rng.random() < 0.3:
            present[name] = rng.random(num_steps) > rng.choice([0.1, 0.7])
    return block_of(series, steps, present)


def judged(block, rules, edges, changes, total_steps):
    case = Case(0, RunContext(total_steps), rules)
    case.note_changes(changes, {})
    return cut_by_cut(case, block, edges)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_trends_by_blocks_are_those_of_every_step_however_the_steps_are_cut(seed):
    rng = np.random.default_rng(seed)
    block, rules = wild(rng, int(rng.integers(2, 300))), rules_of(rng)
    total_steps = int(rng.choice([0, 400])) or None
    changes = [
        ScheduleChange(int(step), 0, number, "learning_rate 0.1")
        for number, step in enumerate(sorted(rng.integers(0, block.steps[-1], rng.integers(0, 3))))
    ]
    asked = [AskedAlways(rule) for rule in rules]
    expected = judged(block, asked, range(len(block) + 1), changes, total_steps)
    for num_cuts in (0, 4):
        cuts = sorted(set(rng.integers(1, len(block), num_cuts).tolist()))
        assert judged(block, rules, [0, *cuts, len(block)], changes, total_steps) == expected


def test_the_rules_of_the_test_above_do_fire():
    """Else it would compare nothing with nothing."""
    fired = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        block, rules = wild(rng, 300), rules_of(rng)
        kinds = {rule.name: rule.criterion.key for rule in rules}
        found = Detector(RunContext(400), rules).judge(block)
        fired |= {(kinds[one.rule], one.state) for one in found}
    assert fired == {
        (key, state) for key in ("rises", "falls", "eta") for state in ("pending", "firing", "resolved")
    }


@pytest.mark.parametrize(
    "when",
    [
        {"rises": {"by": "20%", "within": "200 steps"}},
        {"falls": {"by": "20%", "within": "200 steps"}},
        {"eta": {"above": 100, "within": "300 steps", "over": "200 steps"}},
    ],
    ids=["rises", "falls", "eta"],
)
@pytest.mark.parametrize("drift", [0.0, 2e-4])
def test_what_cannot_hold_is_not_tested(when, drift, monkeypatch):
    """A flat series, and one that rises too slowly for any of the rules."""
    rng = np.random.default_rng(1)
    values = np.exp(0.05 * rng.standard_normal(4000) + drift * np.arange(4000))
    file = {"own_series": OWN, "rules": [{"name": "r", "signal": "mine", "when": when}]}
    (rule,) = read_rules(yaml.safe_dump(file).encode()).own
    asked = []
    update = Detector._update
    monkeypatch.setattr(
        Detector, "_update", lambda self, *said: asked.append(said[1].step) or update(self, *said)
    )
    assert isinstance(rule, Following)
    assert Detector(RunContext(4000), [rule]).judge(block_of({"mine": values})) == []
    assert len(asked) < 8


@given(st.lists(st.integers(1, 9), max_size=60), st.integers(-1, 80), st.integers(1, 30))
def test_hops_are_those_that_a_loop_makes(gaps, earliest, gap):
    steps = np.cumsum(np.array([0, *gaps]))
    expected, after = [], earliest
    for place, step in enumerate(steps.tolist()):
        if step >= after:
            expected.append(place)
            after = step + gap
    assert hops(steps, earliest, gap).tolist() == expected


@given(st.integers(1, 300), st.integers(0, 2**32 - 1), st.integers(1, 260))
def test_a_memory_that_follows_is_the_one_that_was_asked(num_steps, seed, window):
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.choice([1, 1, 2, 9], num_steps))
    values = rng.standard_normal(num_steps)
    asked, followed = Memory(), Memory()
    for step, value in zip(steps.tolist(), values.tolist(), strict=True):
        asked.is_due(step, value, window)
    for part in np.split(np.arange(num_steps), sorted(rng.integers(0, num_steps, 3))):
        followed.follow(steps[part], values[part], window)
    assert asked == followed


@given(st.integers(3, 40), st.integers(0, 2**32 - 1), st.sampled_from([1, -1]), st.booleans())
def test_no_window_that_has_a_trend_is_passed_over(count, seed, sign, is_coarse):
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.integers(1, 5, 60))
    values = rng.standard_normal(60) + rng.uniform(-0.1, 0.1) * steps
    values = np.round(values) if is_coarse else values
    first = rng.integers(0, 60 - count, 12)
    windows = DueWindows(steps, values, first, first + count)
    moves = windows.can_move(sign, 0.05)
    for place, start in enumerate(first.tolist()):
        here = slice(start, start + count)
        assert moves[place] == (mann_kendall(sign * values[here])[0] < 0.05)
        slope = sign * theil_sen(steps[here], values[here])
        assert windows.can_gain(sign, slope - 1e-9)[place]
        assert windows.ends_fast(sign, np.full(12, -1e9))[place]
    assert not windows.can_gain(sign, 1e3).any() and not windows.ends_fast(sign, np.full(12, 1e3)).any()


def test_the_least_score_is_the_first_that_is_significant():
    for count in (5, 10, 11, 40):
        values = np.arange(count, dtype=float)
        score = least_score(count, 0.01)
        assert score <= len(pairs(count)[0])
        # So many pairs turned round
        rng = np.random.default_rng(0)
        for _ in range(200):
            some = values + rng.uniform(0, count) * rng.standard_normal(count)
            later, earlier = pairs(count)
            rises = int(np.sign(some[later] - some[earlier]).sum())
            assert (rises >= score) == (mann_kendall(some)[0] < 0.01)

"""Rules that are asked where they are loud say what they would say if they were asked at every step."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.judging.bench import cut_by_cut

from foreshock.server.detection.baseline import baseline, levels, noises
from foreshock.server.detection.block import block_of
from foreshock.server.detection.case import Case, ScheduleChange
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.detector import Detector
from foreshock.server.detection.rules import default_rules
from foreshock.server.detection.selective import Selective


class AskedAlways:
    """A rule that keeps to itself at which steps it is quiet."""

    def __init__(self, rule):
        self._rule = rule
        self.name, self.claim, self.state_type = rule.name, rule.claim, rule.state_type
        self.update = rule.update


def rough(rng, num_steps):
    """A run of everything that rules look at, with whatever may happen to numbers."""
    num_layers = int(rng.integers(1, 6))
    kind = rng.choice(["calm", "growing", "high", "noisy", "hill"])
    steps = np.cumsum(rng.choice([1, 1, 1, 1, 2, 7], num_steps))
    growth = {"calm": 0.0, "growing": rng.uniform(0.01, 0.06), "high": 0.0, "noisy": 0.002, "hill": 0.0}[kind]
    gain = np.exp(np.minimum(growth * np.arange(num_steps), 9) + (2.8 if kind == "high" else 0.0))
    if kind == "hill":
        gain = np.exp(4 * np.exp(-(((np.arange(num_steps) - 120) / 60) ** 2)))
    scale = rng.choice([0.01, 0.05])

    def around(level, spread=scale):
        return level * np.exp(spread * rng.standard_normal(num_steps))

    series = {"loss": around(2 + 3 * np.exp(-np.arange(num_steps) / 60), rng.choice([0.005, 0.03]))}
    series["grad_norm"] = around(1.0, 0.3)
    series["clip_coefficient"] = np.minimum(1, around(np.exp(-np.arange(num_steps) / 150), 0.1))
    # A largest activation that comes near the end of its range, and goes back
    dip = 12 * np.exp(-(((np.arange(num_steps) - rng.integers(20, 300)) / 25) ** 2)) * rng.choice([0, 1])
    series["headroom_bits"] = around(14.0) - np.log2(gain) - dip
    series["my/own"] = around(1.0)
    for layer in range(num_layers):
        # Layer 0 moves first, as a canary does
        own = gain[np.maximum(np.arange(num_steps) - 8 * layer, 0)] ** (1 / num_layers)
        series[f"layer_amax_forward_mean[{layer}]"] = around(own)
        series[f"layer_amax_backward_mean[{layer}]"] = around(own)
        series[f"composite_amax_forward_mean[{layer}]"] = around(gain)
        series[f"composite_smallest_sum_mean[{layer}]"] = around(1 / gain)
        series[f"stream_rms[{layer}]"] = around(gain)
        series[f"layer_row_error_max[{layer}]"] = around(rng.choice([2e-7, 1e-4]))
        series[f"layer_column_error_max[{layer}]"] = around(rng.choice([0.02, 0.29]))
        series[f"layer_norm_two_max[{layer}]"] = around(1.0, 0.01)
        series[f"layer_negativity_max[{layer}]"] = np.where(rng.random(num_steps) < 0.002, 1e-3, 0.0)
    series["canary_embedding_rms"] = around(1.0)
    present = {}
    for name in series:
        if name.startswith("composite"):
            present[name] = steps % 5 == 0
        elif rng.random() < 0.2:
            present[name] = rng.random(num_steps) > rng.choice([0.02, 0.5])
        if rng.random() < 0.15:
            places = rng.integers(0, num_steps, 3)
            series[name][places] = rng.choice([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e30], 3)
    for _ in range(int(rng.integers(0, 4))):
        at, length = int(rng.integers(0, num_steps)), int(rng.choice([1, 4, 40]))
        series["loss"][at : at + length] *= 1.5
    return block_of(series, steps, present)


def context_of(rng, block):
    total = int(rng.choice([0, block.steps[-1], 10_000])) or None
    return RunContext(total, rng.choice([None, "doubly_stochastic"]), {"connection": "hc"})


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_asking_at_loud_steps_alone_changes_nothing_however_the_steps_are_cut(seed):
    rng = np.random.default_rng(seed)
    block = rough(rng, int(rng.integers(2, 400)))
    context = context_of(rng, block)
    changes = [
        ScheduleChange(int(step), 0, number, "learning_rate 0.1")
        for number, step in enumerate(sorted(rng.integers(0, block.steps[-1], rng.integers(0, 4))))
    ]
    plain = Case(0, context, [AskedAlways(rule) for rule in default_rules()])
    plain.note_changes(changes, {})
    expected = cut_by_cut(plain, block, range(len(block) + 1))
    for num_cuts in (0, 3):
        case = Case(0, context)
        case.note_changes(changes, {})
        cuts = sorted(set(rng.integers(1, len(block), num_cuts).tolist()))
        assert cut_by_cut(case, block, [0, *cuts, len(block)]) == expected


def test_the_runs_of_the_test_above_do_open_alerts():
    """Else it would compare nothing with nothing."""
    rules = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        block = rough(rng, 300)
        rules |= {one.rule for one in Detector(context_of(rng, block)).judge(block)}
    # What is missing for long has a test of its own
    assert rules == {rule.name for rule in default_rules()} - {"no_data"}


def test_all_rules_know_where_they_are_quiet_and_the_others_are_asked_always(traces):
    assert all(isinstance(rule, Selective) for rule in default_rules())
    assert not isinstance(AskedAlways(default_rules()[0]), Selective)


@pytest.mark.parametrize("trace", ["mhc", "residual"])
def test_rules_are_hardly_asked_about_a_healthy_run(traces, trace, monkeypatch):
    asked = []
    update = Detector._update
    monkeypatch.setattr(
        Detector,
        "_update",
        lambda self, rule, moment: asked.append((rule.name, moment.step)) or update(self, rule, moment),
    )
    block = getattr(traces, trace)(num_steps=2000).block()
    Detector(RunContext(2000, config={"connection": trace})).judge(block)
    assert len(asked) < 0.15 * len(block)


@given(
    st.integers(30, 120),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, -0.02, 0.02]),
    st.sampled_from([0.0, 0.05]),
)
def test_many_baselines_at_once_are_those_of_each(count, seed, slope, spread):
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.integers(1, 4, (5, count)), axis=1)
    values = 5 + slope * steps + spread * rng.standard_normal((5, count))
    at_steps = steps[:, -1] + rng.integers(1, 9, 5)
    level = levels(steps, values, at_steps)
    noise = noises(values, level)
    for row in range(5):
        line = baseline(steps[row], values[row], int(at_steps[row]))
        assert (level[row], noise[row]) == pytest.approx((line.level, line.noise), rel=1e-12)

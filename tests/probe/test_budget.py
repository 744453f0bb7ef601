"""The probe's share of the training thread: what it costs is counted, and kept within the budget."""

import time

import pytest

from foreshock.probe import attach
from foreshock.probe.budget import WINDOW_STEPS, Budget
from foreshock.probe.clock import Clock
from foreshock.probe.errors import AttachError

STEP = 1.0


class Run:
    """Steps of a second each, in which every sheet that is due costs what is said."""

    def __init__(self, percent, *, composite_every=10, **cost):
        self.clock = Clock({"composite": composite_every, "slow": 10, "rare": 50})
        self.budget = Budget(self.clock, percent)
        self.cost, self.num_steps, self.changes = cost, 0, 0

    def go(self, num_windows):
        """The probe's share over the last of these windows, in percent."""
        for _ in range(num_windows):
            before = self.clock.total_spent - self.clock.spent["rare"]
            for _ in range(WINDOW_STEPS):
                self.take_step()
            share = self.clock.total_spent - self.clock.spent["rare"] - before
        return 100 * share / (WINDOW_STEPS * STEP)

    def take_step(self, seconds=STEP):
        own = 0.0
        for account, cost in self.cost.items():
            if account == "always" or self.clock.is_due[account]:
                self.clock.spent[account] += cost
                self.clock.total_spent += cost
                own += cost
        self.changes += self.budget.end_step(seconds + own)
        self.num_steps += 1
        self.clock.begin(self.num_steps)


def test_a_probe_within_its_budget_reads_as_often_as_it_would():
    run = Run(1.0, step=0.004, slow=0.02, composite=0.02)
    assert run.go(6) == pytest.approx(0.8)
    assert run.clock.every == {"step": 1, "composite": 10, "slow": 10, "rare": 50} and run.changes == 0


def test_what_is_read_now_and_then_is_read_more_seldom_where_it_costs_too_much():
    run = Run(1.0, step=0.004, slow=0.10, composite=0.10)
    assert run.go(2) == pytest.approx(2.4)
    assert run.go(8) <= 1.0
    assert run.clock.every == {"step": 1, "composite": 50, "slow": 50, "rare": 50}


def test_what_is_read_of_every_layer_at_every_step_follows_only_then():
    run = Run(1.0, composite_every=1, step=0.02, slow=0.02, composite=0.02, always=0.001)
    run.go(2)
    assert run.go(8) <= 1.0
    assert run.clock.every == {"step": 5, "composite": 10, "slow": 100, "rare": 50}


def test_no_reading_is_given_up_whatever_it_costs():
    run = Run(1.0, step=3.0, slow=3.0, composite=3.0, always=0.5)
    run.go(10)
    assert run.clock.every == {"step": 10, "composite": 100, "slow": 100, "rare": 50}


def test_a_probe_that_has_become_cheap_reads_as_often_again():
    run = Run(1.0, step=0.004, slow=0.10, composite=0.10)
    run.go(4)
    run.cost |= {"slow": 0.01, "composite": 0.01}
    run.go(4)
    assert run.clock.every["slow"] == 10


def test_costs_near_a_boundary_do_not_swing_to_and_fro():
    run = Run(1.0, step=0.004, slow=0.03, composite=0.035)
    for window in range(40):
        run.cost["slow"] = 0.03 * (0.9 if window % 2 else 1.1)
        run.go(1)
    assert run.changes <= 1


def test_a_window_without_a_reading_is_no_window_without_cost():
    run = Run(1.0, step=0.004, slow=0.5, composite=0.5)
    run.go(4)
    assert run.clock.every["slow"] == 100
    run.go(20)
    assert run.clock.every["slow"] == 100 and run.changes == 1


def test_an_extra_forward_is_told_apart_and_moves_nothing():
    run = Run(1.0, step=0.004, slow=0.02, rare=0.5)
    run.go(6)
    assert run.clock.every["slow"] == 10


def test_a_pause_is_no_step_and_a_deep_window_decides_nothing():
    paused = Run(1.0, step=0.004, slow=0.10, composite=0.10)
    for _ in range(4 * WINDOW_STEPS):
        # One evaluation of 1,000 s in every window would make anything look cheap
        paused.take_step(1000.0 if paused.num_steps % WINDOW_STEPS == 7 else STEP)
    assert paused.clock.every["slow"] == 50

    deep = Run(1.0, step=0.004, slow=0.05)
    deep.clock.deepen(10 * WINDOW_STEPS)
    deep.go(9)
    assert deep.clock.every["slow"] == 10 and deep.changes == 0


def test_time_inside_time_is_put_down_once(monkeypatch):
    clock, now = Clock({"slow": 10}), iter((0.0, 1.0, 4.0, 10.0))
    monkeypatch.setattr("foreshock.probe.clock.perf_counter", lambda: next(now))
    with clock.charging("always"), clock.charging("slow"):
        pass
    assert (clock.spent["slow"], clock.spent["always"]) == (3.0, 7.0)


@pytest.mark.parametrize("budget", [0, -1, 101, float("nan"), True, "1 %"])
def test_a_budget_that_is_none_is_refused(make_model, tmp_path, budget):
    with pytest.raises(AttachError, match=r"budget is .*: give percent of a step"):
        attach(make_model(), mode="offline", directory=tmp_path, budget=budget)


class Costly:
    """An observer that takes 3 ms at every tenth step."""

    columns = {"slow": ("costly",)}  # noqa: RUF012

    def start(self, places, clock):
        self.place, self.clock = places["slow"], clock

    def end_step(self):
        if self.clock.is_due["slow"]:
            time.sleep(0.003)
            self.place.fill_(1.0)

    def close(self):
        pass


@pytest.fixture
def train(loop, read_spool, tmp_path):
    """Records so many steps; what was spooled."""

    def train(num_steps, **options):
        probe = attach(
            loop.model,
            loop.optimizer,
            observers=[Costly()],
            mode="offline",
            directory=tmp_path,
            composite_every=10,
            **options,
        )
        for _ in range(num_steps):
            probe.step(loss=loop.step())
        probe.finish()
        return read_spool(probe)

    return train


def test_a_probe_that_costs_too_much_reads_more_seldom_and_says_so(train):
    spooled = train(320)
    (event, *_) = (event for event in spooled.events if event.kind == "cadence")
    assert event.step == 2 * WINDOW_STEPS - 1
    # A model as small as this one takes little longer than what is read of it
    assert event.detail == {"step_every": 10, "composite_every": 100, "slow_every": 100, "rare_every": 50}
    assert set(spooled.series["costly"]) == {*range(0, 100, 10), 100, 200, 300}
    # Of every step in any case
    for column in ("loss", "grad_norm", "probe_seconds"):
        assert list(spooled.series[column]) == list(range(320))
    gains = list(spooled.series["layer_amax_forward_max[0]"])
    assert gains[:100] == list(range(100)) and gains[100:] == list(range(100, 320, 10))


def test_without_a_budget_the_cadences_stay(train):
    spooled = train(130, budget=None)
    assert set(spooled.series["costly"]) == set(range(0, 130, 10))
    assert not [event for event in spooled.events if event.kind == "cadence"]


def test_what_the_probe_takes_is_told_of_every_step(train):
    own, whole = (train(60, budget=None).series[name] for name in ("probe_seconds", "step_seconds"))
    costly = [own[step] for step in range(0, 60, 10)]
    assert min(costly) >= 0.003
    assert all(0 < own[step] for step in own)
    assert sum(own.values()) < sum(whole.values()) + 0.1

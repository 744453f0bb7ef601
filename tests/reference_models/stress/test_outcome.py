"""Runs judged from what a collector would say of them."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from foreshock.reference_models.observatory import AlertLine
from foreshock.reference_models.stress.conditions import conditions
from foreshock.reference_models.stress.knobs import Factors, Setting
from foreshock.reference_models.stress.outcome import Outcome, find_event, judge
from foreshock.reference_models.stress.report import make_report
from foreshock.reference_models.stress.session import Attempt, Fate
from foreshock.reference_models.stress.stack import PlannedRun
from foreshock.reference_models.stress.warning import Readings

BOMB = AlertLine("time_bomb", "warning", "composite", 15, 3.0, None, "it rises")
EXIT = AlertLine("exit_amax", "critical", "amax", 40, 3.0, None, "it rises")


def falling(num_steps: int = 200) -> dict[int, float]:
    noise = np.random.default_rng(0).normal(0, 0.01, num_steps)
    return {step: 2 + 3 * math.exp(-step / 40) + float(noise[step]) for step in range(num_steps)}


class Told:
    """A collector that knows one run."""

    def __init__(
        self, losses: dict[int, float], died: int | None = None, alerts: tuple[AlertLine, ...] = ()
    ) -> None:
        self.kept, self.alerts = losses, alerts
        self.summary = {"died_step": died, "peak_composite_log": math.log(5), "final_loss": 2.0}

    def run(self, run_id: str) -> dict[str, Any] | None:
        last = max(self.kept, default=-1)
        return {"run_id": run_id, "last_step": last, "summary": self.summary, "total_steps": 200}

    def losses(self, run_id: str) -> dict[int, float]:
        return self.kept

    def timeline(self, row: dict[str, Any]) -> list[AlertLine]:
        return list(self.alerts)

    def least(self, run_id: str, column: str) -> float | None:
        return 3.5


def outcome(
    told: Told,
    variant: str = "base",
    status: int | None = 0,
    fate: Fate = "ended",
    fault_step: int | None = None,
) -> Outcome:
    planned = PlannedRun(Setting(variant, 200, 1, 1e-3, 1), 0, "r")
    attempt = Attempt(planned, fate, 2.0, status, "last words", "the time was up" if fate != "ended" else "")
    return judge(attempt, told, fault_step)  # type: ignore[arg-type]


def test_a_smooth_run_is_quiet_and_a_death_without_an_alert_unwarned() -> None:
    assert outcome(Told(falling(), alerts=(BOMB,))).verdict == "quiet"
    dead = outcome(Told(falling(120), died=120))
    assert (dead.verdict, dead.event, dead.onset_step) == ("unwarned", "death", 120)


def test_a_death_is_warned_of_in_time_or_too_far_ahead() -> None:
    assert outcome(Told(falling(120), died=120, alerts=(BOMB,))).verdict == "warned"
    early = outcome(Told(falling(120), died=120, alerts=(EXIT,)))
    assert early.verdict == "untimely"
    assert "warned at step 40, 80 steps before the onset" in early.why


def test_a_spike_is_found_in_the_loss_alone() -> None:
    losses = falling() | {step: 6.0 for step in range(150, 156)}
    event, onset = find_event(losses, 200, None)
    assert event in ("spike", "malignant", "divergence")
    assert onset == pytest.approx(150, abs=2)
    assert find_event(falling(), 200, None) == (None, None)
    gap = find_event(falling() | {step: math.nan for step in range(100, 105)}, 200, None)
    assert gap[0] is not None and gap[1] == 100


def test_a_process_that_fails_or_is_stopped_is_no_quiet_run() -> None:
    crashed = outcome(Told(falling(50)), status=1)
    assert (crashed.verdict, crashed.why) == ("crashed", "exit status 1 at step 49: last words")
    assert outcome(Told(falling(50)), status=None, fate="stopped").verdict == "stopped"
    # What the loss shows counts however the process ended
    assert outcome(Told(falling(120), died=120), status=-9).verdict == "unwarned"
    short = outcome(Told(falling(50)))
    assert (short.verdict, short.why) == ("quiet", "it ended after 50 of 200 steps")


def test_exit_is_asked_of_the_base_alone() -> None:
    calm, alarmed = outcome(Told(falling())), outcome(Told(falling(), alerts=(EXIT,)), "deeper")
    assert conditions([calm, alarmed]).exit_holds is False
    assert conditions([alarmed]).exit_holds is None
    held = conditions([outcome(Told(falling(), alerts=(EXIT,)))])
    assert held.exit_reasons == ("exit_amax fired at step 40 of the base, seed 0",)
    assert held.restart_holds is False
    assert "peaked at 5, allowed 1.6" in held.restart_reasons[0]


def a_verdict(*tests: tuple[str, bool], missing: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the collector's API says of the base against its unconstrained twin."""
    told = {
        quantity: {
            "quantity": quantity, "test": "F test", "p_value": 0.004, "effect": "Infinity", "is_weak": True,
            "is_significant": holds, "num_constrained": 3, "num_baseline": 3,
        }
        for quantity, holds in tests
    }  # fmt: skip
    return {"tests": told, "missing": list(missing)}


def test_a_restart_holds_where_all_of_it_was_measured_and_met() -> None:
    base = outcome(Told(falling()))
    base = dataclasses.replace(base, peak_gain=1.2)
    died = outcome(Told(falling(60), died=60, alerts=(BOMB,)), "combined")
    twin = outcome(Told(falling(60), died=60), "unconstrained")
    both = (("log_peak_gain", True), ("final_loss", True))
    assert conditions([base, died, twin]).restart_holds is None
    held = conditions([base, died, twin], a_verdict(*both))
    assert held.restart_holds is True
    assert "variance of log peak gain: Infinity times less than unconstrained" in " ".join(
        held.restart_reasons
    )
    assert conditions([base, died, twin], a_verdict(both[0], ("final_loss", False))).restart_holds is False
    missing = (
        "Variance of final loss: 3 constrained and 0 baseline runs have one",
        "A stress test: tag a run",
    )
    undecided = conditions([base, died, twin], a_verdict(both[0], missing=missing))
    assert undecided.restart_holds is None and undecided.restart_reasons[0] == missing[0]


def test_the_twin_that_dies_unwarned_fails_nothing(tmp_path: Any) -> None:
    base, twin = outcome(Told(falling())), outcome(Told(falling(60), died=60), "unconstrained")
    assert twin.verdict == "unwarned"
    report = make_report({}, Factors(), [base, twin], minutes=1, seconds=1, directory=tmp_path)
    assert report.has_passed
    stopped = outcome(Told({}), "unconstrained", None, "not run")
    report = make_report({}, Factors(), [base, stopped], minutes=1, seconds=1, directory=tmp_path)
    assert not report.has_passed


def test_a_planted_fault_is_no_exit_and_its_warning_counts_from_it() -> None:
    told = Told(falling(60), died=60, alerts=(BOMB, EXIT))
    planted = outcome(told, fault_step=35)
    assert (planted.verdict, planted.warning) == ("warned", EXIT)
    assert planted.readings == Readings(first_tenth=False, after_fault=True, before_onset=True)
    assert conditions([planted]).exit_reasons == ()
    assert len(conditions([outcome(told, fault_step=59)]).exit_reasons) == 1


def test_a_variant_without_a_tested_run_fails_the_report(tmp_path: Any) -> None:
    def report(*outcomes: Outcome) -> tuple[str, ...]:
        found = make_report({}, Factors(), outcomes, minutes=1, seconds=1, directory=tmp_path)
        return found.failures

    calm = outcome(Told(falling()))
    late = outcome(Told({}), "deeper", None, "not run")
    assert report(calm) == ()
    assert report(calm, outcome(Told({}), "base", None, "not run")) == ()
    assert report(calm, late) == ("deeper: not tested, since no run of it came to its end in the time",)

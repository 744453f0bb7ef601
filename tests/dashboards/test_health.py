"""Health in words: six kinds of runs, and everything that may be missing or wrong."""

import math
from typing import Any

import numpy as np
import pytest

from foreshock.dashboards.health import LEVELS, Departure, Evidence, Health, judge_health
from foreshock.dashboards.recording import Recording

LAYERS = 6
STEPS = np.arange(400)
FLAT = np.ones(len(STEPS))


def run(**said: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "run_id": "r",
        "state": "running",
        "attempt": 0,
        "last_step": 399,
        "total_steps": 1000,
        "heartbeat_at": 0.0,
        "summary": {"num_samples": 400, "step": 399, "has_layers": True, "died_step": None},
    }
    return told | said


def alert(rule: str, fired: int | None, **said: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "rule": rule,
        "severity": "warning",
        "state": "firing" if fired is not None else "pending",
        "subject": "composite",
        "attempt": 0,
        "opened_step": fired if fired is not None else 390,
        "fired_step": fired,
        "resolved_step": None,
        "reason": "a reason",
        "advice": "an advice",
    }
    return told | said


def columns(gains: np.ndarray, **plain: Any) -> dict[str, tuple[Any, Any]]:
    """Gains [layers, steps] as a run tells them, with their products; backward as forward."""
    found: dict[str, tuple[Any, Any]] = {"loss": (STEPS, 2 + 3 * np.exp(-STEPS / 90))}
    for layer, row in enumerate(gains):
        for way in ("forward", "backward"):
            found[f"layer_amax_{way}_mean[{layer}]"] = (STEPS, row)
        found[f"composite_amax_forward_mean[{layer}]"] = (STEPS, np.prod(gains[: layer + 1], axis=0))
    return found | {name: (STEPS, values) for name, values in plain.items()}


def judged(
    recorded: dict[str, tuple[Any, Any]],
    *alerts: dict[str, Any],
    departures: tuple[Departure, ...] = (),
    **said: Any,
) -> Health:
    newest = {name: float(values[-1]) for name, (_, values) in recorded.items()}
    evidence = Evidence.of(run(**said), alerts, newest, departures)
    return judge_health(evidence, Recording(recorded))


def calm_gains() -> np.ndarray:
    return 1 + 0.01 * np.random.default_rng(0).standard_normal((LAYERS, len(STEPS)))


def moving_gains(layer: int, since: int, rate: float) -> np.ndarray:
    gains = calm_gains()
    gains[layer] *= np.exp(rate * np.clip(STEPS - since, 0, None))
    return gains


def test_a_safe_run() -> None:
    health = judged(columns(calm_gains(), headroom_bits=11 * FLAT))
    assert (health.level, health.word, health.sign) == ("safe", "Safe", "✓")
    assert health.layer is health.since_step is health.moved_since is None
    within = "0.9\N{MULTIPLICATION SIGN} to 1.1\N{MULTIPLICATION SIGN}"
    assert f"No open alerts. No layer moves: each is within {within}." in health.sentence


def test_a_time_bomb() -> None:
    recorded = columns(moving_gains(2, 100, 0.01))
    bomb = alert(
        "time_bomb", 250, signal="composite_amax_forward_mean", layer=5, eta_steps=340.0, told_step=250
    )
    health = judged(recorded, bomb)
    assert (health.level, health.word) == ("watch", "Watch since step 250")
    # The product is worst at the last layer; the layer that moves is another
    assert (health.layer, health.rule) == (2, "time_bomb")
    assert health.moved_since is not None and 105 <= health.moved_since <= 112
    assert health.sentence.startswith(
        "The gain rises while the loss still falls. Layer 2 moves most, since step 1"
    )
    assert "overflows near step 590, in about 191 steps" in health.sentence and health.limit_step == 590

    forecast = {"risk": {"20": 0.1, "100": 0.8}, "told_step": 300, "signal": "adam_rms"}
    ahead = alert("spike_ahead", 300, severity="critical", subject="forecast", **forecast)
    health = judged(recorded, bomb, ahead)
    assert (health.level, health.word, health.layer) == ("risk", "At risk since step 300", 2)
    assert "A spike within 100 steps has a risk of 0.80, as told at step 300." in health.sentence
    assert health.risk == {"20": 0.1, "100": 0.8} and health.risk_step == 300
    assert "The loss (2.036) may still look healthy." in health.sentence


def test_a_dying_stream() -> None:
    recorded = columns(moving_gains(0, 300, 0.03), headroom_bits=12 - 0.03 * STEPS)
    dying = alert(
        "headroom_running_out",
        385,
        severity="critical",
        subject="stream",
        signal="headroom_bits",
        layer=5,
        eta_steps=18.0,
        told_step=390,
    )
    health = judged(recorded, dying)
    assert (health.level, health.word, health.layer) == ("risk", "At risk since step 385", 0)
    assert "The residual stream is about to overflow its number format." in health.sentence
    assert "overflows near step 408, in about 9 steps" in health.sentence


def test_a_stream_that_has_died() -> None:
    gains = moving_gains(0, 300, 0.03)
    gains[:, 390:] = np.nan
    recorded = columns(gains, loss=np.where(STEPS < 390, 2.0, np.nan))
    ended = alert("nonfinite", 390, severity="critical", subject="loss", signal="loss")
    warned = alert("exit_amax", 330, severity="critical", signal="composite_amax_forward_mean", layer=5)
    health = judged(recorded, ended, warned)
    assert (health.level, health.word) == ("dead", "Diverged at step 390")
    assert (health.layer, health.since_step) == (0, 390)
    assert health.value is not None and health.value > 5
    assert health.moved_since is not None and 303 <= health.moved_since <= 306
    assert (
        "The loss is NaN since step 390. “Exit amax” had warned at step 330, 60 steps before."
        in health.sentence
    )
    assert "Layer 0 had moved most, since step 30" in health.sentence


@pytest.mark.parametrize("is_told", [True, False])
def test_a_router_that_drifts(is_told: bool) -> None:
    drift = np.where(STEPS < 220, 0.95, 0.95 - 0.004 * (STEPS - 220))
    routers = {f"router_entropy[{layer}]": drift if layer == 3 else 0.95 * FLAT for layer in range(LAYERS)}
    recorded = columns(calm_gains(), **routers)
    ahead = alert("spike_ahead", 350, severity="critical", subject="forecast", signal="stream_rms", layer=5)
    health = judged(recorded, *([ahead] if is_told else []))
    # 0.95 - 0.004 k leaves 0.7 at k = 63
    assert (health.layer, health.series, health.moved_since) == (3, "router_entropy", 283)
    assert health.level == ("risk" if is_told else "watch")
    assert health.since_step == (350 if is_told else 283)
    assert (
        "Layer 3 moves most, since step 283: router entropy at 0.234 (healthy 0.7 to 1)." in health.sentence
    )


def test_a_fault_from_outside() -> None:
    loss = np.where(STEPS >= 395, 11.0, 2.0)
    spike = alert("loss_spike", 397, opened_step=395, subject="loss", signal="loss")
    health = judged(columns(calm_gains(), loss=loss), spike)
    assert (health.level, health.word, health.layer) == ("watch", "Watch since step 397", None)
    assert "The loss has spiked. No layer moves" in health.sentence
    assert "Look at the data of that step first." in health.sentence

    passed = alert("loss_spike", 397, state="resolved", resolved_step=399, subject="loss")
    health = judged(columns(calm_gains()), passed)
    assert health.level == "safe" and "“Loss spike” has passed (steps 397 to 399)." in health.sentence


def test_a_warning_that_only_the_end_of_the_run_resolved_has_not_passed() -> None:
    broken = alert("constraint_broken", 300, state="resolved", resolved_step=399)
    health = judged(columns(np.ones((LAYERS, 400))), broken, state="finished")
    assert (health.level, health.word, health.num_open) == ("watch", "Watch since step 300", 0)
    assert health.sentence.startswith("Finished at step 399. The mixing matrices have left their constraint.")
    # One that resolved before, one that never fired, and what is no more than a remark have passed
    for one in (
        alert("constraint_broken", 300, state="resolved", resolved_step=398),
        alert("constraint_broken", None, state="resolved", resolved_step=399),
        alert("exit_stability_tax", 300, state="resolved", resolved_step=399, severity="info"),
    ):
        assert judged(columns(np.ones((LAYERS, 400))), one, state="finished").level == "safe"


@pytest.mark.parametrize("is_told", [True, False])
def test_a_signal_that_vanishes(is_told: bool) -> None:
    recorded = columns(moving_gains(1, 150, -0.012))
    gone = alert("vanishing", 345, signal="composite_smallest_sum_mean", layer=5)
    health = judged(recorded, *([gone] if is_told else []))
    assert (health.level, health.layer) == ("watch", 1)
    assert health.value is not None and health.value < 0.1
    assert health.moved_since is not None and 156 <= health.moved_since <= 162
    assert health.since_step is not None and (
        health.since_step == 345 if is_told else 185 <= health.since_step <= 200
    )
    words = "The signal vanishes" if is_told else "The composite gain has left its healthy band (0.6 to 1.6)."
    assert words in health.sentence


def test_a_band_that_was_left_at_the_last_of_few_readings() -> None:
    # Every tenth step of many: the crossing lies between two buckets far apart
    slow = np.arange(0, 2000, 10)
    entropy = np.where(slow == 1990, 0.3, 0.9)
    evidence = Evidence.of(run(last_step=1999), [], {"router_entropy[1]": 0.3})
    health = judge_health(evidence, Recording({"router_entropy[1]": (slow, entropy)}))
    assert (health.layer, health.moved_since) == (1, 1990)


def test_layers_that_all_move_a_little_are_not_one_layer() -> None:
    recorded = columns(np.full((LAYERS, len(STEPS)), 1.09))
    health = judged(recorded, alert("time_bomb", 250, signal="composite_amax_forward_mean", layer=5))
    assert health.layer is None
    assert "No single layer stands out: their product is worst at layer 5" in health.sentence


def test_a_departure_names_a_layer_and_raises_no_alarm() -> None:
    left = (Departure("router_margin_p01", 4, 210), Departure("grad_norm", None, 100))
    health = judged(columns(calm_gains()), departures=left)
    assert (health.level, health.layer, health.moved_since) == ("safe", 4, 210)
    assert "Layer 4 moves most, since step 210, by its router margin p01." in health.sentence


@pytest.mark.parametrize(
    ("said", "level", "word", "sentence"),
    [
        ({"state": "finished"}, "safe", "Safe", "Finished at step 399. No open alerts."),
        ({"state": "crashed"}, "dead", "Crashed at step 399", "ended with an error after step 399."),
        ({"state": "crashed", "last_step": -1}, "dead", "Crashed", "before its first step."),
        ({"state": "lost"}, "watch", "Contact lost", "Nothing has been heard since step 399."),
        ({"state": "lost", "last_step": -1}, "watch", "Contact lost", "since the run was registered."),
        ({"last_step": -1}, "unknown", "No data yet", "its first step has not arrived."),
        ({"heartbeat_at": 9e99, "started_at": -1.0}, "safe", "Safe", "No open alerts."),
    ],
)
def test_states(said: dict[str, Any], level: str, word: str, sentence: str) -> None:
    health = judged(columns(calm_gains()), **said)
    assert (health.level, health.word) == (level, word)
    assert sentence in health.sentence


def test_a_run_that_was_seen_in_part_is_not_called_safe() -> None:
    summary = {"num_samples": 120, "step": 399, "has_layers": False}
    health = judge_health(Evidence.of(run(summary=summary), [], {"loss": 2.0}))
    assert (health.level, health.word) == ("partial", "Seen in part")
    assert "what was seen (120 of 400 steps; no mixing layers measured)." in health.sentence


def test_steps_that_a_resumed_attempt_never_had_are_not_missing() -> None:
    summary = {"num_samples": 100, "step": 399, "has_layers": True}
    resumed = run(attempt=1, summary=summary, cursors=[{"attempt": 1, "lost_frames": 0}])
    assert judge_health(Evidence.of(resumed, [], {"loss": 2.0})).level == "safe"
    dropped = run(attempt=1, summary=summary, cursors=[{"attempt": 1, "lost_frames": 50}])
    assert judge_health(Evidence.of(dropped, [], {"loss": 2.0})).level == "partial"


def test_alerts_of_an_earlier_attempt_say_nothing_of_this_one() -> None:
    old = alert("exit_amax", 100, severity="critical", attempt=0)
    assert judged(columns(calm_gains()), old, attempt=1).level == "safe"


def test_a_loss_that_is_not_finite_is_a_death_before_the_judge_says_so() -> None:
    for broken in (math.nan, math.inf, "NaN", "-Infinity"):
        health = judge_health(Evidence.of(run(summary={}), [], {"loss": broken}))
        # Since when is for the judge to say
        assert (health.level, health.word, health.since_step) == ("dead", "Diverged by step 399", None)
        assert " at step 399." in health.sentence


def test_a_run_of_nothing_but_nan() -> None:
    recorded = {name: (STEPS, np.nan * FLAT) for name in columns(calm_gains())}
    health = judged(recorded, summary={"num_samples": 400, "step": 399, "died_step": 0})
    assert (health.level, health.since_step, health.layer) == ("dead", 0, None)


def test_a_run_at_risk_that_fell_silent_says_both() -> None:
    grave = alert("exit_amax", 300, severity="critical")
    silent = alert("heartbeat_lost", 399, severity="critical", subject="heartbeat")
    health = judged(columns(calm_gains()), grave, silent, state="lost")
    assert health.word == "At risk since step 300"
    assert "Contact was lost after step 399." in health.sentence
    assert judged(columns(calm_gains()), silent, state="lost").word == "Contact lost"
    assert judged(columns(calm_gains()), grave, state="finished").word == "Ended at risk since step 300"


def test_an_overflow_after_the_end_of_the_run_is_not_told() -> None:
    bomb = alert("time_bomb", 250, eta_steps=5000.0, told_step=250)
    health = judged(columns(moving_gains(0, 100, 0.01)), bomb)
    assert health.limit_step is None and "overflow" not in health.sentence


def test_what_is_pending_is_told_as_not_yet_sure() -> None:
    health = judged(columns(calm_gains()), alert("exit_amax", None, severity="critical"))
    assert health.level == "watch" and "not yet for long enough to be sure" in health.sentence


def test_a_note_alarms_nobody() -> None:
    assert judged(columns(calm_gains()), alert("my_note", 10, severity="info")).level == "safe"


def test_without_newest_values_the_summary_stands_for_them() -> None:
    summary = run()["summary"] | {
        "loss": 2.0,
        "composite_forward": "Infinity",
        "composite_backward": 1.0,
        "worst_layer": 3,
        "worst_layer_gain_forward": 2.5,
        "worst_layer_gain_backward": None,
        "headroom_bits": 1.5,
    }
    health = judge_health(Evidence.of(run(summary=summary), []))
    assert (health.level, health.layer, health.value, health.moved_since) == ("watch", 3, 2.5, None)
    assert (
        "Only 1.5 bits of headroom are left." in health.sentence
        and "+Inf\N{MULTIPLICATION SIGN}" in health.sentence
    )


@pytest.mark.parametrize("summary", [None, {}, {"num_samples": "many", "step": None, "loss": "two"}])
def test_what_is_missing_or_no_number_harms_nothing(summary: Any) -> None:
    health = judge_health(Evidence.of({"state": "running", "last_step": 5, "summary": summary}, []))
    assert (health.level, health.word) == ("unknown", "Not judged yet")
    assert health.told()["sign"] == LEVELS["unknown"]

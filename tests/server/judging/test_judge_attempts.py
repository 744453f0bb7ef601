"""Ranks that wait for each other, attempts that begin anew, and how a run's last word is told."""

import numpy as np
import pytest
from tests.server.judging.bench import HC, write

from foreshock.server.store import judgement
from foreshock.server.store.schema import alert_transitions, alerts, detector_states, runs

pytestmark = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


def two_ranks(http, writer):
    other = type(writer)(http, rank=1, session="session-2")
    writer.start("loss")
    other.start("loss")
    return writer, other


def test_the_watermark_waits_for_every_live_rank(bench, http, writer):
    one, two = two_ranks(http, writer)
    one.send(one.batch(range(10), np.ones(10)))
    two.send(two.batch(range(4), 3 * np.ones(4)))
    bench.turns(2)
    assert bench.rows(detector_states)[0]["judged_step"] == 3
    assert bench.rows(runs)[0]["summary"]["loss"] == 2.0


def test_a_rank_that_stands_still_is_left_out_after_the_grace_and_taken_back(bench, http, writer):
    one, two = two_ranks(http, writer)
    one.send(one.batch(range(10), np.ones(10)))
    two.send(two.batch(range(4), 3 * np.ones(4)))
    bench.turns(1)
    bench.clock.now += 31
    one.send(one.batch(range(10, 12), np.ones(2)))
    bench.turns(2)
    assert bench.rows(detector_states)[0]["judged_step"] == 11
    assert bench.rows(runs)[0]["summary"]["loss"] == 1.0
    two.send(two.batch(range(4, 15), 3 * np.ones(11)))
    bench.replace()
    bench.turns(1)
    one.send(one.batch(range(12, 20), np.ones(8)))
    bench.turns(2)
    assert bench.rows(detector_states)[0]["judged_step"] == 14
    assert bench.rows(runs)[0]["summary"]["loss"] == 2.0


def test_a_new_attempt_is_judged_afresh_and_resolves_what_was_open(bench, http, writer, dying, traces):
    list(write(writer, dying, [100], **HC))
    again = type(writer)(http, attempt=1, session="session-2")
    healthy = list(traces.mhc(num_steps=60).rows())
    list(write(again, healthy, **HC))
    bench.turns(6)
    last = {(one[0], one[1]): one[2] for one in bench.told()}
    assert set(last.values()) == {"resolved"}
    assert any("Attempt 1" in row["reason"] for row in bench.rows(alert_transitions))
    assert any(one[0] == "nonfinite" for one in bench.told())  # the old attempt was judged to its end
    state = bench.rows(detector_states)[0]
    assert (state["attempt"], state["judged_step"]) == (1, 59)
    assert bench.rows(runs)[0]["summary"]["died_step"] is None


@pytest.mark.parametrize("ending", ["finished", "crashed"])
def test_critical_alerts_are_the_last_word_of_a_run_that_has_ended(bench, writer, dying, ending):
    list(write(writer, dying, **HC))
    writer.send(writer.event(ending, step=139))
    bench.turns(4)
    states = {(row["rule"], row["subject"]): (row["severity"], row["state"]) for row in bench.rows(alerts)}
    assert states["exit_amax", "amax"] == ("critical", "firing")
    assert states["time_bomb", "composite"] == (
        ("warning", "resolved") if ending == "finished" else ("warning", "firing")
    )
    assert "pending" not in {state for _, state in states.values()}


def test_a_schedule_change_in_the_log_restarts_the_patience(bench, http, writer, dying):
    list(write(writer, dying[:60], **HC))
    writer.send(writer.event("schedule", step=60, learning_rate=0.01))
    list(write(writer, dying, first=60))
    bench.turns(3)
    fired = {one[0]: one[3] for one in bench.told() if one[2] == "firing"}
    assert fired["exit_amax"] >= 70
    (row,) = [row for row in bench.rows(alerts) if row["rule"] == "exit_amax"]
    assert "step 60 (learning_rate 0.01)" in row["reason"]


def test_a_schedule_change_that_arrives_late_counts_from_where_it_arrived(bench, writer):
    writer.start("loss")
    writer.send(writer.batch(range(10), np.ones(10)))
    writer.send(writer.event("schedule", step=3, learning_rate=0.01))
    with bench.engine.connect() as connection:
        changes, after = judgement.read_changes(connection, "run-1", 0, {})
    assert [(change.step, change.what) for change in changes] == [(10, "learning_rate 0.01")]
    assert after == {0: 3}


def test_a_new_attempt_is_judged_by_what_it_declares(bench, http, writer, traces):
    rows = list(traces.residual(num_steps=60).rows())
    list(write(writer, rows, total_steps=100))
    bench.turns(2)
    again = type(writer)(http, attempt=1, session="session-2")
    list(write(again, rows, total_steps=4000))
    bench.turns(4)
    # 5 % of 4000 steps are more than it has; of 100 steps it would be the least, 10
    losses = np.float32([row["loss"] for row in rows])
    assert bench.rows(runs)[0]["summary"]["final_loss"] == pytest.approx(losses.mean(dtype=float))


def test_alerts_of_a_future_that_a_run_went_back_from_resolve_and_say_so(bench, http, writer, dying):
    list(write(writer, dying[:100], **HC))
    bench.turns(2)
    back = {row["rule"]: row["opened_step"] for row in bench.rows(alerts)}["time_bomb"]
    writer.send(writer.event("rollback", step=back, back_to_step=back))
    again = type(writer)(http, attempt=1, session=writer.session)
    again.declare(**HC)
    again.send(again.layout("loss"), again.batch(range(back, back + 30), np.linspace(4, 3, 30)))
    bench.turns(4)
    ended = {row["rule"]: (row["state"], row["outcome"]) for row in bench.rows(alerts)}
    went_back, afresh = f"The run went back to step {back}", "Attempt 1 is judged afresh."
    abandoned = f"{went_back}: what was seen from step {{}} on will not come to be. {afresh}"
    # From which step on a run is at risk is the fitted model's matter; how it ends is not
    for rule in ("spike_ahead", "structural_risk"):
        state, outcome = ended.pop(rule, ("resolved", f"{went_back}{afresh}"))
        assert state == "resolved" and outcome.startswith(went_back) and outcome.endswith(afresh)
    assert ended == {
        "exit_amax": ("resolved", f"{went_back}. {afresh}"),  # it had opened before
        "time_bomb": ("resolved", abandoned.format(back)),
        "headroom_running_out": ("resolved", abandoned.format(69)),
    }
    state = bench.rows(detector_states)[0]
    assert (state["attempt"], state["judged_step"]) == (1, back + 29)

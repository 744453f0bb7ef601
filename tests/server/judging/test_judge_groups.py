"""Groups of runs judged on a real database, and the restart alert."""

import math

import pytest
from tests.server.judging.bench import write

from foreshock.server.alerts.notifier import MemoryNotifier
from foreshock.server.alerts.outbox import Outbox
from foreshock.server.store.schema import alert_transitions, alerts, outbox

on_both = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
GROUP = "group:demo/mhc"


class Trainer:
    """Trains runs of two groups, whole or cut, as probes send them."""

    def __init__(self, http, writer_type, bench):
        self.http, self.writer_type, self.bench = http, writer_type, bench

    def run(self, key, seed, log_gain, loss, end="finished", num_steps=60, **said):
        run_id = said.pop("run_id", f"{key}-{seed}")
        writer = self.writer_type(self.http, run_id=run_id, session=run_id)
        config = said.pop("config", {"connection": key})
        writer.declare(**{"config": config, "seed": seed, "total_steps": 60, **said})
        writer.send(writer.layout("loss", "composite_amax_forward_mean[0]", "layer_amax_forward_mean[0]"))
        rows = [[loss, math.exp(log_gain), 1.0]] * num_steps
        writer.send(writer.batch(range(num_steps), rows))
        if end is not None:
            writer.send(writer.event(end, step=num_steps - 1))
        return writer

    def groups(self, num=3):
        for seed in range(num):
            self.run("mhc", seed, 0.08 + 0.001 * seed, 2.0 + 0.001 * seed)
            self.run("hc", seed, 2.0 + seed, 2.0 + seed)
        self.bench.turns(4)

    def stress(self, dying, **said):
        """A run that is warned of in its first tenth, and then dies."""
        writer = self.writer_type(self.http, run_id="stress", session="stress")
        told = {"config": {"connection": "hc"}, "tags": ["stress"], "total_steps": 1400, **said}
        for _ in write(writer, dying, **told):
            pass
        writer.send(writer.event("crashed", step=len(dying) - 1))
        self.bench.turns(6)
        return writer

    def delete(self, run_id):
        self.http.delete(f"/api/v1/runs/{run_id}")
        self.bench.judge.note_change(run_id)
        self.bench.turns(2)

    def states(self):
        return [state for _, _, state, _ in self.bench.told(GROUP)]


@pytest.fixture
def trainer(http, writer, bench):
    return Trainer(http, type(writer), bench)


@on_both
def test_the_alert_is_pending_fires_and_is_delivered_once(bench, trainer, dying):
    trainer.groups()
    assert trainer.states() == ["pending"]
    (row,) = bench.rows(alerts, alerts.c.run_id == GROUP)
    assert "A stress test: there is none." in row["reason"] and row["severity"] == "info"
    trainer.stress(dying)
    assert trainer.states() == ["pending", "firing"]
    number = bench.rows(alert_transitions, alert_transitions.c.run_id == GROUP)[-1]["number"]
    assert [row["number"] for row in bench.rows(outbox, outbox.c.run_id == GROUP)] == [number]
    bench.replace()
    before = bench.told(GROUP)
    bench.turns(3)
    assert bench.told(GROUP) == before
    (fired,) = bench.rows(alerts, alerts.c.run_id == GROUP)
    assert fired["alert_key"] == row["alert_key"] and "every condition is met" in fired["reason"]


def test_a_run_that_starts_or_slips_by_a_hair_changes_nothing(bench, trainer, dying):
    trainer.groups()
    trainer.stress(dying)
    running = trainer.run("mhc", 3, 0.083, 2.003, end=None)
    bench.turns(3)
    assert trainer.states()[-1] == "firing"
    running.send(running.event("finished", step=59))
    bench.turns(3)
    assert trainer.states() == ["pending", "firing"]
    # Over the limit of 1.6, under 5 % more
    trainer.run("mhc", 4, math.log(1.63), 2.002)
    bench.turns(3)
    verdict = trainer.http.get("/api/v1/verdict", params={"project": "demo"}).json()
    amax = verdict["requirements"][0]
    assert (amax["state"], amax["is_marginal"]) == ("failed", True)
    assert trainer.states() == ["pending", "firing"]


@on_both
def test_it_resolves_where_a_condition_fails_and_comes_back_as_another_alert(bench, trainer, dying):
    trainer.groups()
    trainer.stress(dying)
    acknowledged = trainer.http.post(
        f"/api/v1/alerts/{GROUP}/1/acknowledge", json={"author": "mira", "note": "restarting"}
    )
    assert acknowledged.json()["acknowledged_by"] == "mira"
    trainer.run("mhc", 7, math.log(2.5), 2.0)
    bench.turns(3)
    assert trainer.states() == ["pending", "firing", "resolved"]
    (row,) = bench.rows(alerts, alerts.c.run_id == GROUP)
    assert "peaked at 2.5" in row["outcome"] and row["acknowledged_by"] == "mira"
    trainer.delete("mhc-7")
    assert trainer.states()[3:] == ["firing"]
    _, again = bench.rows(alerts, alerts.c.run_id == GROUP)
    assert again["alert_key"] != row["alert_key"] and again["acknowledged_by"] is None


@on_both
def test_a_deleted_group_resolves_its_alert(bench, trainer, dying):
    trainer.groups()
    trainer.stress(dying)
    for seed in range(3):
        trainer.delete(f"mhc-{seed}")
    assert trainer.states()[-1] == "resolved"


def test_a_run_that_changes_its_group_is_judged_there(bench, trainer, dying):
    trainer.groups()
    trainer.stress(dying)
    moved = trainer.writer_type(trainer.http, run_id="mhc-0", session="mhc-0")
    assert moved.declare(config={"connection": "mhc_v4"}, seed=0, total_steps=60).status_code == 200
    bench.judge.note_change("mhc-0")
    bench.turns(3)
    assert trainer.states()[-1] == "resolved"  # two seeds are left


def test_what_is_missing_is_kept_up_to_date_without_telling_anybody(bench, trainer):
    trainer.groups()
    trainer.run("hc", 9, 2.5, 2.5, end=None)
    bench.judge.note_change("hc-9")
    bench.turns(3)
    (row,) = bench.rows(alerts, alerts.c.run_id == GROUP)
    assert "1 of 4 hc runs still runs" in row["reason"] and trainer.states() == ["pending"]


def test_one_project_that_cannot_be_judged_keeps_no_other_waiting(bench, trainer, monkeypatch):
    trainer.run("mhc", 0, 0.1, 2.0, run_id="other", project="a broken one")
    from foreshock.server import judge

    real = judge.judge_project

    def refuse(engine, project, *rest):
        if project == "a broken one":
            raise RuntimeError("refused on purpose")
        return real(engine, project, *rest)

    monkeypatch.setattr(judge, "judge_project", refuse)
    trainer.groups()
    assert trainer.states() == ["pending"]


def test_people_hear_of_it_by_one_fingerprint_with_a_link_to_the_verdict(bench, trainer, dying):
    told = MemoryNotifier()
    trainer.groups()
    trainer.stress(dying)
    trainer.run("mhc", 7, math.log(2.5), 2.0)
    bench.turns(3)
    Outbox(bench.engine, [told], public_url="http://here").deliver(told)
    of_group = [one for one in told.received if one.alert.run_id == GROUP]
    assert [one.alert.state for one in of_group] == ["firing", "resolved"]
    assert len({one.fingerprint for one in of_group}) == 1
    assert {one.page for one in of_group} == {"http://here/verdict?project=demo&constrained=mhc"}


def test_an_open_alert_of_a_group_is_in_the_metrics(trainer, bench):
    trainer.groups()
    told = trainer.http.get("/metrics").text
    labels = 'project="demo",run="mhc",run_id="group:demo/mhc",severity="info",state="pending"'
    assert f"foreshock_alerts{{{labels}}} 1.0" in told
    for seed in range(3):
        trainer.delete(f"mhc-{seed}")
    assert "group:demo/mhc" not in trainer.http.get("/metrics").text


def test_a_delete_and_a_declaration_reach_the_judge_by_themselves(trainer, bench):
    own = trainer.http.app.state.collector.judge
    trainer.run("mhc", 0, 0.1, 2.0)
    trainer.http.delete("/api/v1/runs/mhc-0")
    assert own._take_changed() == {"demo"} and own._take_changed() == set()

"""The verdict over HTTP: by which key, against which group, and what cannot be asked."""

import math

import pytest


@pytest.fixture
def train(http, writer, bench):
    """Trains one short run to its end."""

    def train(run_id, log_gain=0.08, loss=2.0, **said):
        one = type(writer)(http, run_id=run_id, session=run_id)
        assert one.declare(**{"total_steps": 60, **said}).status_code == 200
        one.send(one.layout("loss", "composite_amax_forward_mean[0]", "layer_amax_forward_mean[0]"))
        rows = [[loss, math.exp(log_gain), 1.0]] * 60
        one.send(one.batch(range(60), rows), one.event(said.pop("end", "finished"), step=59))
        bench.turns(3)

    return train


@pytest.fixture
def trained(train):
    for seed in range(3):
        for key, spread in (("mhc", 0.001), ("hc", 1.0)):
            config = {"model": {"connection": key, "depth": 12}, "betas": [0.9, 0.95], "seed": seed}
            config["rate"] = 0.01 if key == "mhc" else 0.02
            gain = (0.08 if key == "mhc" else 2.0) + spread * seed
            train(f"{key}-{seed}", gain, 2.0 + spread * seed, config=config, seed=seed, group=f"{key} runs")


def ask(http, **query):
    return http.get("/api/v1/verdict", params={"project": "demo", **query})


def test_the_verdict_is_answered_with_every_condition(http, trained):
    verdict = ask(http).json()
    assert verdict["group_by"] == "model.connection" and verdict["state"] == "undecided"
    assert (verdict["constrained"], verdict["baseline"]) == ("mhc", "hc")
    assert [one["name"] for one in verdict["requirements"]] == [
        "amax",
        "log_peak_gain",
        "final_loss",
        "ends",
        "layers",
        "stress",
    ]
    assert verdict["tests"]["log_peak_gain"]["is_weak"] and len(verdict["missing"]) == 1
    assert any(
        "differ in more than model.connection: rate (0.01 and 0.02)" in note for note in verdict["notes"]
    )
    other = ask(http, constrained="hc", baseline="mhc").json()
    assert other["state"] == "wait" and other["candidates"] == [{"constrained": "hc", "state": "wait"}]
    assert http.get("/api/v1/verdict").status_code == 422


@pytest.mark.parametrize("group_by", ["group", "model.connection"])
def test_it_groups_by_any_key(http, trained, group_by):
    verdict = ask(http, group_by=group_by).json()
    assert verdict["constrained"].startswith("mhc") and set(verdict["tests"]) == {
        "log_peak_gain",
        "final_loss",
    }


@pytest.mark.parametrize(
    ("group_by", "words"),
    [
        ("seed", "differ in their seed"),
        ("model.seed", "differ in their seed"),
        ("state", "is its outcome"),
        ("conection", "none of the 6 runs has it; the nearest is"),
        ("tag", "none of the 6 runs has it"),
        ("model", "choose one of its keys, model.connection, model.depth"),
    ],
)
def test_a_key_that_makes_no_groups_is_refused_with_those_that_do(http, trained, problem, group_by, words):
    told = problem(ask(http, group_by=group_by), 422, "invalid")
    assert words in told["detail"] and "model.connection" in told["detail"]
    assert {"group", "model.connection", "rate", "betas"} <= set(told["keys"]) and "seed" not in told["keys"]


def test_values_that_are_lists_make_groups(http, trained):
    verdict = ask(http, group_by="betas").json()
    assert [group["key"] for group in verdict["groups"]] == ["[0.9,0.95]"]
    assert verdict["state"] == "undecided" and "groups are [0.9,0.95]" in verdict["missing"][0]


def test_a_project_without_runs_is_unknown(http, problem):
    assert "'demo' has no run" in problem(ask(http), 404, "unknown-project")["detail"]


def test_runs_that_nothing_groups_are_undecided(http, train):
    train("bare", config={"rate": 1})
    told = ask(http).json()
    assert (told["state"], told["group_by"], told["constrained"]) == ("undecided", "group", None)
    assert (
        "the groups are none" in told["missing"][0]
        and "foreshock train --connection mhc" in told["missing"][0]
    )


def test_a_group_is_not_held_against_itself(http, trained, problem):
    assert "both 'hc'" in problem(ask(http, constrained="hc", baseline="hc"), 422, "invalid")["detail"]


@pytest.mark.parametrize("asked", [{"baseline": "nope"}, {"constrained": "nope"}, {"constrained": ""}])
def test_a_group_that_has_no_run_is_told_as_what_is_missing(http, trained, train, asked):
    train("odd", config={"model": {"connection": "mhc"}, "odd": {"a": [1]}})
    told = ask(http, **asked)
    assert told.status_code == 200 and told.json()["state"] == "undecided"
    (name,) = asked.values()
    assert any(f"'{name}'" in one or f"of {name}" in one for one in told.json()["missing"]), told.json()[
        "missing"
    ]


def test_each_constrained_group_is_held_against_the_baseline(http, trained, train):
    for seed in range(3):
        config = {"model": {"connection": "mhc_lite", "depth": 12}}
        train(f"lite-{seed}", 1.0 + seed, 2.0 + seed, config=config, seed=seed)
    verdict = ask(http).json()
    assert verdict["candidates"] == [
        {"constrained": "mhc", "state": "undecided"},
        {"constrained": "mhc_lite", "state": "wait"},
    ]
    assert any("2 constrained groups are held against one baseline" in note for note in verdict["notes"])
    assert ask(http, constrained="mhc_lite").json()["state"] == "wait"


def test_a_group_that_mixes_constrained_and_other_runs_is_no_candidate(http, train):
    train("a", config={"connection": "mhc"}, group="one", seed=0)
    train("b", config={"connection": "hc"}, group="one", seed=1)
    assert ask(http, group_by="group").json()["constrained"] is None


@pytest.mark.parametrize(
    ("said", "fault_step"),
    [
        ({"config": {"connection": "hc", "faults": "bad_batch@30 domain_switch@20"}}, 20),
        ({"config": {"connection": "hc", "fault_step": 25}}, 25),
        ({"config": {"connection": "hc", "faults": [{"kind": "x", "step": 12}]}}, 12),
        ({"config": {"connection": "hc", "fault_step": True}}, None),
        ({"config": {"connection": "hc"}, "end": "fault"}, 59),
        ({"config": {}}, None),
    ],
)
def test_a_fault_is_where_it_is_declared_or_noted(http, trained, train, said, fault_step):
    train("stressed", tags=["stress"], **said)
    (test,) = ask(http).json()["stress_tests"]
    assert (test["run_id"], test["fault_step"]) == ("stressed", fault_step)
    assert test["decided_by"] == ("first_tenth" if fault_step is None else "after_fault")


def test_the_onset_of_a_stress_test_is_that_of_its_loss(http, trained, train, writer, bench):
    one = type(writer)(http, run_id="stressed", session="s")
    one.declare(config={"connection": "hc"}, tags=["stress"], total_steps=200)
    one.send(one.layout("loss"))
    one.send(one.batch(range(20), [1.0] * 5 + [math.nan] * 15), one.event("crashed", step=19))
    bench.turns(3)
    (test,) = ask(http).json()["stress_tests"]
    # That the loss is no number is the event itself, and no warning of it
    assert (test["onset_step"], test["warning_step"], test["outcome"]) == (5, None, "failed")
    assert ask(http).json()["state"] == "wait"

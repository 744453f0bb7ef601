"""Studies: cells, effects alone and averaged, seeds as the unit."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from foreshock.reference_models.errors import RecordError
from foreshock.reference_models.scenarios.labelling import LabelledRun
from foreshock.reference_models.scenarios.labels import label
from foreshock.reference_models.scenarios.study import (
    Harm,
    mean_interval,
    share_difference,
    share_interval,
    study,
)

# In an order that is neither the alphabet's nor that of the folder
GRID = {"model.connection": ["hc", "mhc"], "train.clip": [5.0, "none", 1.0]}
CALM = label(2.0 + 0.05 * np.random.default_rng(0).standard_normal(1500))


def labelled(
    point: dict[str, Any], seed: int, *, scenario: str = "s", family: str = "defence"
) -> LabelledRun:
    manifest = {"family": family, "scenario": scenario, "grid": GRID, "point": point, "seed": seed}
    run_id = "-".join([scenario, *map(str, point.values()), str(seed)])
    return LabelledRun(run_id, manifest, CALM)


def grid_of_runs(seeds: range) -> list[LabelledRun]:
    return [
        labelled({"model.connection": connection, "train.clip": clip}, seed)
        for connection in GRID["model.connection"]
        for clip in GRID["train.clip"]
        for seed in seeds
    ]


def harm_of(run: LabelledRun) -> Harm:
    """HC costs 1 nat, no clipping 0.5, both together 4 more; a seed adds a level of its own."""
    point, seed = run.manifest["point"], run.manifest["seed"]
    is_hc, is_free = point["model.connection"] == "hc", point["train.clip"] == "none"
    late_loss = 2 + is_hc + 0.5 * is_free + 4 * (is_hc and is_free) + 10 * seed + 0.1 * (is_hc * seed)
    return Harm(failed=is_hc and is_free, late_loss=late_loss, largest_rise=0.0)


def test_effects_are_paired_by_seed_alone_and_averaged_whatever_the_order_of_the_runs() -> None:
    runs = grid_of_runs(range(5))
    random.Random(0).shuffle(runs)
    found = study("defence", runs, harm_of)
    assert found.axes == ("model.connection", "train.clip")
    assert [cell.cell for cell in found.cells][-1] == ("mhc", "1.0")
    by_change = {(effect.axis, effect.value): effect for effect in found.effects}
    assert set(by_change) == {("model.connection", "hc"), ("train.clip", "5.0"), ("train.clip", "none")}
    # 0.1 seed over seeds 0 to 4: mean 0.2, standard deviation sqrt(0.025)
    half = stats.t(4).ppf(0.975) * math.sqrt(0.025 / 5)
    alone = by_change["model.connection", "hc"].alone["late_loss"]
    assert (alone.mean, alone.low, alone.num_seeds) == pytest.approx((1.2, 1.2 - half, 5))
    averaged = by_change["model.connection", "hc"].on_average["late_loss"]
    assert (averaged.mean, averaged.high) == pytest.approx((1.2 + 4 / 3, 1.2 + 4 / 3 + half))
    free = by_change["train.clip", "none"]
    assert free.alone["late_loss"].mean == pytest.approx(0.5)
    assert free.on_average["late_loss"].mean == pytest.approx(2.5)
    assert not free.alone["failed"].excludes_zero
    assert free.on_average["failed"].mean == pytest.approx(0.5)


def test_five_of_five_against_none_leaves_room_for_doubt() -> None:
    difference = share_difference([1.0] * 5, [0.0] * 5)
    assert difference.mean == difference.high == 1.0
    assert 0.3 < difference.low < 0.5
    assert share_interval([1.0] * 5).low == pytest.approx(
        0.5655, abs=1e-4
    )  # Wilson's, from his formula's tables
    assert not share_difference([1.0, 0.0, 0.0, 0.0, 0.0], [0.0] * 5).excludes_zero


def test_the_interval_of_a_share_is_that_of_scipy() -> None:
    for successes, count in ((0, 3), (1, 5), (7, 20)):
        ours = share_interval([1.0] * successes + [0.0] * (count - successes))
        theirs = stats.binomtest(successes, count).proportion_ci(method="wilson")
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_one_seed_gives_a_mean_without_an_interval() -> None:
    one = mean_interval([3.0])
    assert one.mean == 3.0 and math.isnan(one.low) and not one.excludes_zero


def test_a_dead_step_counts_as_the_first_loss_and_a_step_trained_twice_by_its_last() -> None:
    losses = np.r_[6.0, np.full(1399, 2.0), np.nan]
    dead = Harm.of(label(losses, total_steps=1500), np.arange(1401), losses)
    assert dead.failed
    assert dead.late_loss == pytest.approx((200 * 2.0 + 100 * 6.0) / 300)
    losses = np.r_[np.full(1500, 2.0), np.full(100, 3.0)] + 0.01 * np.random.default_rng(1).standard_normal(
        1600
    )
    steps = np.r_[np.arange(1500), np.arange(1400, 1500)]
    again = Harm.of(label(losses, steps), steps, losses)
    assert again.late_loss == pytest.approx((200 * 2.0 + 100 * 3.0) / 300, abs=0.01)
    assert again.largest_rise == pytest.approx(1.0, abs=0.05)
    assert dead.largest_rise == pytest.approx(4.0)


def test_scenarios_that_share_a_family_are_an_axis() -> None:
    runs = [
        LabelledRun(
            f"{name}-{seed}",
            {"family": "data mix", "scenario": name, "grid": {}, "point": {}, "seed": seed},
            CALM,
        )
        for seed in (0, 1)
        for name in ("smooth", "disjoint")
    ]
    found = study("data mix", runs, lambda run: Harm(False, float(len(run.manifest["scenario"])), 0.0))
    assert found.axes == ("scenario",)
    (effect,) = found.effects
    assert (effect.value, effect.reference, effect.alone["late_loss"].mean) == ("disjoint", "smooth", 2.0)


@pytest.mark.parametrize(
    ("runs", "family", "words"),
    [
        (grid_of_runs(range(2)), "F99", "no labelled run is of the family 'F99'; there are defence"),
        (grid_of_runs(range(2))[:-2], "defence", "lacks 1 of its cells, the first model.connection = mhc"),
        (
            [
                run
                for run in grid_of_runs(range(2))
                if (run.manifest["seed"] == 0) == ("hc" in run.run_id.split("-"))
            ],
            "defence",
            "share no seed",
        ),
    ],
)
def test_what_is_no_study_is_refused(runs: list[LabelledRun], family: str, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        study(family, runs, harm_of)


def test_the_command_tells_a_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from foreshock.reference_models.scenarios.execution import study_command

    assert study_command(tmp_path, "defence", as_json=True) == 2
    assert "holds no recorded runs" in capsys.readouterr().err

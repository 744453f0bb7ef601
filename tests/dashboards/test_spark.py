"""Thumbnails of runs: bounded, worst first, nothing hidden."""

import numpy as np

from foreshock.dashboards.figures.spark import MAX_ROWS, NUM_COLUMNS, spark
from foreshock.dashboards.recording import Recording
from foreshock.wire.readings import Window

WHOLE = Window()
LETTERS = set("012345678x.")


def recording(gains: dict[int, np.ndarray], direction: str = "forward") -> Recording:
    return Recording(
        {
            f"layer_amax_{direction}_mean[{layer}]": (np.arange(len(values)), values)
            for layer, values in gains.items()
        }
    )


def test_a_spike_of_one_step_in_one_of_many_layers_is_seen() -> None:
    gains = {layer: np.ones(100_000) for layer in range(50)}
    gains[37][54_321] = 200.0
    gains[3][10] = 1e-9
    drawn = spark(recording(gains))
    assert drawn.kind == "layers" and len(drawn.rows) == MAX_ROWS
    assert all(len(row) <= NUM_COLUMNS and set(row) <= LETTERS for row in drawn.rows)
    assert "".join(drawn.rows).count("8") == 1 and drawn.rows[0][0] == "0"
    assert "".join(drawn.rows).count("4") == sum(map(len, drawn.rows)) - 2


def test_both_directions_count_and_gains_keep_their_colour_in_every_run() -> None:
    forward = recording({0: np.full(4, 1.0), 1: np.full(4, 10**0.5)})
    backward = recording({0: np.full(2, 0.1), 1: np.full(2, 1.0)}, "backward")
    both = Recording(
        {
            name: (one.series((name,), WHOLE)[0].first_step, one.series((name,), WHOLE)[0].mean)
            for one in (forward, backward)
            for name in one.columns()
        }
    )
    assert spark(both).rows == ("0044", "6666")


def test_what_is_not_finite_is_marked_and_said() -> None:
    drawn = spark(recording({0: np.array([1.0, np.inf, np.nan]), 1: np.array([1.0, 2.0, 3.0])}))
    assert drawn.rows[0] == "4xx" or drawn.rows[0] == "4x."
    assert drawn.rows[1] == "456"


def test_a_run_without_layers_shows_its_loss_and_one_without_anything_nothing() -> None:
    drawn = spark(Recording({"loss": (range(4), [8.0, 4.0, np.nan, 0.0])}))
    assert (drawn.kind, drawn.rows) == ("loss", ("84x0",))
    assert spark(Recording({"loss": (range(2), [3.0, 3.0])})).rows == ("00",)
    assert spark(Recording({"loss": (range(2), [np.nan, np.inf])})).rows == ("xx",)
    assert spark(Recording({})).rows == ()

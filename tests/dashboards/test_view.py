"""What a viewer may choose: the scale, a moving average, another axis."""

from typing import Any

import numpy as np
import pytest

from foreshock.dashboards.figures import RUN_FIGURES, axes_of
from foreshock.dashboards.figures.smoothing import moving_average
from foreshock.dashboards.recording import Recording
from foreshock.wire.readings import AlertMark, Clock, Window

STEPS = np.arange(100)
FIRING = AlertMark("exit_amax", "critical", "firing", "amax", 40, 48, None, "Amax rose.")
RESOLVED = AlertMark("spike", "warning", "resolved", "loss", 10, 12, 30, "It came down.")


def loss(run: Recording, **view: Any) -> dict[str, Any]:
    return RUN_FIGURES["loss"](run, Window(), **view)


def named(figure: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [trace for trace in figure["data"] if trace.get("name") == name]


def test_a_moving_average_weighs_each_step_back_by_its_half_life() -> None:
    values = [4.0, None, 0.0, 8.0]
    keep = 0.5**0.5
    third = (4 * keep + 0) / (keep + 1)
    last = (4 * keep**2 + 0 * keep + 8) / (keep**2 + keep + 1)
    assert moving_average(values, 2.0) == [4.0, None, pytest.approx(third, 1e-5), pytest.approx(last, 1e-5)]
    assert moving_average([1.0, 100.0], 1e9, log=True) == [1.0, pytest.approx(10.0, 1e-5)]
    assert moving_average([0.0, 5.0], 1.0, log=True) == [None, 5.0]


def test_smoothing_keeps_the_raw_line_and_its_extremes() -> None:
    values = np.full(100_000, 2.0)
    values[77_777] = 200.0
    figure = loss(Recording({"loss": (np.arange(100_000), values)}), smooth=20.0)
    raw, smooth = named(figure, "loss")
    assert raw["line"]["color"] == "var(--series-1-faint)" and smooth["line"]["color"] == "var(--series-1)"
    assert max(raw["y"]) > 2.0 and max(smooth["y"]) < max(raw["y"])
    assert max(value for value in named(figure, "min to max")[0]["y"] if value is not None) == 200.0


def test_a_log_scale_masks_what_it_cannot_show_and_keeps_the_band() -> None:
    run = Recording({"router_max_violation[0]": (STEPS[:3], [0.0, 0.5, 5.0])})
    linear = RUN_FIGURES["router_load"](run, Window())
    assert linear["layout"]["yaxis"].get("type") is None
    log = RUN_FIGURES["router_load"](run, Window(), log_y=True)
    assert log["layout"]["yaxis"]["type"] == "log"
    assert named(log, "max violation")[0]["y"] == [None, 0.5, 5.0]
    (band,) = (shape for shape in log["layout"]["shapes"] if shape["fillcolor"] == "var(--healthy)")
    assert 0 < band["y0"] <= 0.5 and band["y1"] == 2.0
    assert named(linear, "max violation")[0]["y"] == [0.0, 0.5, 5.0], "the one given is not changed"


def test_a_linear_scale_moves_the_words_of_a_threshold_to_its_value() -> None:
    run = Recording({"composite_amax_forward_mean[0]": (STEPS, np.full(100, 1.0))})
    (note,) = RUN_FIGURES["composite"](run, Window(), log_y=False)["layout"]["annotations"]
    assert note["y"] == pytest.approx(10.0)
    layout = RUN_FIGURES["composite"](run, Window(), log_y=False)["layout"]
    assert layout["yaxis"]["range"][0] == 0.0 and "type" not in layout["yaxis"]


def test_a_share_keeps_the_ends_of_its_axis() -> None:
    columns = {name: (STEPS, np.full(100, 0.5)) for name in ("grad_norm", "clip_coefficient")}
    layout = RUN_FIGURES["clip"](Recording(columns), Window(), log_y=True)["layout"]
    assert layout["yaxis"]["type"] == "log" and layout["yaxis2"]["range"] == [0, 1.05]


def test_nothing_above_zero_stays_linear() -> None:
    layout = loss(Recording({"loss": (STEPS[:2], [-1.0, 0.0])}), log_y=True)["layout"]
    assert layout["yaxis"].get("type") is None


def test_over_time_everything_moves_and_the_page_can_find_its_way_back() -> None:
    clock = Clock(1000.0, STEPS, 1000.0 + 60.0 * STEPS + np.where(STEPS >= 50, 3600.0, 0.0))
    run = Recording({"loss": (STEPS, np.ones(100))}, [FIRING], clock=clock)
    figure = loss(run, axis="time")
    layout = figure["layout"]
    assert layout["xaxis"]["title"]["text"] == "wall time (h)"
    (line,) = named(figure, "loss")
    assert line["x"][10] == pytest.approx(10 / 60) and line["x"][60] == pytest.approx(2.0)
    lines = [shape["x0"] for shape in layout["shapes"] if shape["type"] == "line"]
    assert lines == [pytest.approx(48 / 60)]
    assert layout["xaxis"]["range"] == [0.0, pytest.approx(99 / 60 + 1)]
    told = layout["meta"]["axis"]
    assert told["kind"] == "time" and told["began"] == 1000.0
    assert np.interp(2.0, told["places"], told["steps"]) == pytest.approx(60.0)


def test_over_tokens_a_run_that_counts_none_says_so() -> None:
    counted = Recording({"loss": (STEPS, np.ones(100)), "tokens": (STEPS, 1e6 * (STEPS + 1))})
    assert axes_of(counted) == ["step", "time", "tokens"]
    (line,) = named(loss(counted, axis="tokens"), "loss")
    assert line["x"][:2] == [1e6, 2e6]
    figure = loss(Recording({"loss": (STEPS, np.ones(100))}), axis="tokens")
    assert named(figure, "loss")[0]["x"][:2] == [0, 1]
    assert figure["layout"]["meta"]["reading"].endswith("Over steps: this run tells no tokens.")


def test_an_alert_is_a_wash_from_where_it_fired_to_where_it_was_resolved() -> None:
    pending = AlertMark("x", "critical", "pending", "x", 2, None, None, "Not yet.")
    shapes = loss(Recording({"loss": (STEPS, np.ones(100))}, [FIRING, FIRING, RESOLVED, pending]))["layout"][
        "shapes"
    ]
    washes = [(shape["x0"], shape["x1"]) for shape in shapes if shape["type"] == "rect"]
    assert washes == [(48, 99), (12, 30)], "alike ones are joined, and critical ones come first"


def test_an_alert_that_began_before_the_window_still_washes_it() -> None:
    run = Recording({"loss": (STEPS, np.ones(100))}, [FIRING])
    shapes = RUN_FIGURES["loss"](run, Window(start=60, stop=80))["layout"]["shapes"]
    assert [(shape["x0"], shape["x1"]) for shape in shapes if shape["type"] == "rect"] == [(60, 80)]


def test_the_risk_stands_beneath_the_loss_where_it_is_known() -> None:
    risk = (STEPS[::10], {"20": np.linspace(0, 0.5, 10), "10%": np.full(10, np.nan)})
    figure = loss(Recording({"loss": (STEPS, np.ones(100))}, risk=risk))
    (near,) = named(figure, "within 20 steps")
    assert near["yaxis"] == "y2" and near["y"][-1] == 50.0
    assert figure["layout"]["meta"]["reading"].endswith("Risk: 50 % within 20 steps.")
    assert "yaxis2" not in loss(Recording({"loss": (STEPS, np.ones(100))}))["layout"]

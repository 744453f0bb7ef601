"""Figures: what must be seen is in them, and nothing that a run can contain breaks them."""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.dashboards.figures import COMPARE_FIGURES, RUN_FIGURES
from foreshock.dashboards.figures.gain_map import gain_map
from foreshock.dashboards.figures.loss import loss
from foreshock.dashboards.figures.scale import ticks
from foreshock.dashboards.recording import Recording
from foreshock.wire.readings import AlertMark, GroupSeries, SeedSeries, Window

ALERT = AlertMark("exit_amax", "critical", "firing", "amax", 40, 48, None, "Amax rose to 12.4 <b>now</b>.")
NUMBERS = st.one_of(
    st.floats(width=32), st.sampled_from([0.0, -1.0, np.nan, np.inf, -np.inf, 3.4e38, 1e-45, 1.0])
)


def series(values: Any, start: int = 0) -> tuple[Any, Any]:
    """Values on consecutive steps."""
    return np.arange(start, start + len(values)), np.asarray(values, dtype=np.float64)


def traces(figure: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [trace for trace in figure["data"] if trace.get("name") == name]


def layers(name: str, matrix: Any) -> dict[str, tuple[Any, Any]]:
    return {f"{name}[{layer}]": series(row) for layer, row in enumerate(np.asarray(matrix))}


def test_a_spike_of_one_step_is_seen_when_a_hundred_thousand_steps_are_drawn() -> None:
    values = np.full(100_000, 2.0)
    values[77_777] = 200.0
    figure = loss(Recording({"loss": series(values)}), Window())
    band = traces(figure, "min to max")[0]
    assert max(value for value in band["y"] if value is not None) == 200.0
    assert len(traces(figure, "loss")[0]["x"]) <= 500


def test_a_nan_breaks_the_line_and_is_marked_where_it_happened() -> None:
    figure = loss(Recording({"loss": series([3.0, 2.0, np.nan, 2.0])}), Window())
    assert traces(figure, "loss")[0]["y"] == [3.0, 2.0, None, 2.0]
    (marks,) = traces(figure, "not finite")
    assert marks["x"] == [2] and "NaN" in marks["text"][0]
    assert figure["layout"][marks["yaxis"].replace("y", "yaxis")]["range"] == [0, 1]


@pytest.mark.parametrize(("value", "word"), [(np.inf, "+Inf"), (-np.inf, "-Inf"), (np.nan, "NaN")])
def test_what_is_not_finite_is_called_by_its_name(value: float, word: str) -> None:
    figure = loss(Recording({"loss": series([1.0, value])}), Window())
    assert word in traces(figure, "not finite")[0]["text"][0]
    assert word in figure["layout"]["meta"]["reading"]


def test_the_death_of_a_run_is_told_with_its_last_finite_value() -> None:
    figure = loss(Recording({"loss": series([3.0, 2.5, np.nan, np.nan])}), Window())
    assert figure["layout"]["meta"]["reading"] == "NaN since step 2; 2.5 was the last finite value."
    washes = [shape for shape in figure["layout"]["shapes"] if shape["type"] == "rect"]
    assert [(wash["x0"], wash["x1"]) for wash in washes] == [(2, 3)]


def test_an_alert_stands_in_the_loss_as_a_line_a_mark_and_words() -> None:
    figure = loss(Recording({"loss": series(np.ones(100))}, [ALERT]), Window())
    lines = [shape for shape in figure["layout"]["shapes"] if shape["type"] == "line"]
    assert [(line["x0"], line["x1"]) for line in lines] == [(48, 48)]
    assert "exit amax" in figure["layout"]["annotations"][0]["text"]
    (mark,) = traces(figure, "alert")
    assert mark["x"] == [48] and "&lt;b&gt;" in mark["text"][0]


def test_alerts_outside_the_window_are_not_drawn() -> None:
    figure = loss(Recording({"loss": series(np.ones(100))}, [ALERT]), Window(start=60, stop=90))
    assert traces(figure, "alert") == []


def test_the_loss_can_be_drawn_on_a_log_scale() -> None:
    recording = Recording({"loss": series([4.0, 0.0, 2.0])})
    assert loss(recording, Window())["layout"]["yaxis"].get("type") is None
    drawn = RUN_FIGURES["loss"](recording, Window(), log_y=True)
    assert drawn["layout"]["yaxis"]["type"] == "log"
    assert traces(drawn, "loss")[0]["y"] == [4.0, None, 2.0]


def test_the_map_centres_on_one_and_says_real_values_beside_its_colours() -> None:
    gains = np.ones((4, 50))
    gains[2, 30:] = 7.0
    figure = gain_map(Recording(layers("layer_amax_forward_max", gains)), Window())
    heat = figure["data"][0]
    assert heat["zmin"] == -heat["zmax"] == -1.0
    bar = heat["colorbar"]
    assert "1" in bar["ticktext"] and bar["tickvals"][bar["ticktext"].index("1")] == 0
    assert [10.0**place for place in bar["tickvals"]] == pytest.approx([float(t) for t in bar["ticktext"]])
    assert "Layer 2" in figure["layout"]["meta"]["reading"]
    assert any("layer 2" in note["text"] for note in figure["layout"]["annotations"])


@pytest.mark.parametrize("reduction", ["mean", "max"])
def test_figures_say_how_a_gain_came_from_its_tokens(reduction: str) -> None:
    name = f"layer_amax_forward_{reduction}"
    told = gain_map(Recording(layers(name, [[1.0], [1.9]])), Window(), series=name)["layout"]["meta"][
        "reading"
    ]
    assert f"1.9\N{MULTIPLICATION SIGN}, {reduction} over tokens at step 0" in told
    seeds = COMPARE_FIGURES["seeds"]([group("hc", [[1.0, 2.0]])], f"composite_amax_forward_{reduction}")
    assert f"Each value is the {reduction} over tokens." in seeds["layout"]["meta"]["reading"]


def test_the_map_keeps_its_colours_when_it_is_zoomed() -> None:
    gains = np.ones((3, 400))
    gains[0, 390] = 90.0
    recording = Recording(layers("layer_amax_forward_max", gains))
    whole, part = gain_map(recording, Window()), gain_map(recording, Window(start=0, stop=100))
    assert whole["data"][0]["zmax"] == part["data"][0]["zmax"] == 2.0


def test_the_map_keeps_a_spike_and_a_dip_of_one_step() -> None:
    gains = np.ones((2, 50_000))
    gains[0, 12_345], gains[1, 33_333] = 50.0, 0.02
    figure = gain_map(Recording(layers("layer_amax_forward_max", gains)), Window())
    heights = figure["data"][0]["z"]
    assert max(heights[0]) == pytest.approx(np.log10(50), abs=1e-4)
    assert min(heights[1]) == pytest.approx(np.log10(0.02), abs=1e-4)
    assert len(heights[0]) <= 1000


def test_cells_that_are_not_finite_are_drawn_in_a_colour_of_their_own() -> None:
    gains = np.ones((2, 10))
    gains[1, 6:] = np.nan
    figure = gain_map(Recording(layers("layer_amax_forward_max", gains)), Window())
    (broken,) = traces(figure, "not finite")
    assert broken["z"][0] == [None] * 10
    assert broken["z"][1] == [None] * 6 + [1] * 4
    assert "grey" in figure["layout"]["meta"]["reading"]


def test_where_low_is_worse_the_lowest_is_darkest_and_pointed_at() -> None:
    entropy = Recording(layers("router_entropy", [[0.99, 0.98], [0.97, 0.4], [1.0, 0.99]]))
    figure = gain_map(entropy, Window(), series="router_entropy")
    heat = figure["data"][0]
    darkest, palest = heat["colorscale"][0], heat["colorscale"][-1]
    assert (darkest[0], palest[0]) == (0.0, 1.0)
    assert darkest[1] == "var(--scale-8)" and palest[1] == "var(--scale-4)"
    assert figure["layout"]["meta"]["reading"].startswith("Layer 1 is farthest from health: 0.4")
    room = Recording(layers("swiglu_headroom", [[1.0, -0.5], [2.0, 1.0]]))
    heat = gain_map(room, Window(), series="swiglu_headroom")["data"][0]
    assert heat["zmin"] <= -0.5 and heat["zmax"] >= 2.0


def test_a_series_with_no_healthy_middle_gets_a_scale_from_one_end() -> None:
    errors = Recording(layers("layer_row_error_max", np.full((2, 5), 0.3)))
    heat = gain_map(errors, Window(), series="layer_row_error_max")["data"][0]
    assert heat["zmin"] < -1.0 < heat["zmax"], "what is well within its band is pale"
    assert heat["colorscale"][-1][1] == "var(--scale-8)"


def test_the_composite_names_the_worst_layer_and_since_when_it_is_over_ten() -> None:
    gains = np.ones((3, 60))
    gains[1, 20:] = 12.5
    figure = RUN_FIGURES["composite"](Recording(layers("composite_amax_forward_mean", gains)), Window())
    assert "Worst layer 1, forward: 12.5\N{MULTIPLICATION SIGN}" in figure["layout"]["meta"]["reading"]
    assert "over 10 since step 20" in figure["layout"]["meta"]["reading"]
    assert figure["layout"]["yaxis"]["type"] == "log"
    heights = {(shape["y0"], shape["y1"]) for shape in figure["layout"]["shapes"]}
    assert {(0.6, 1.6), (10.0, 10.0)} <= heights


def test_a_composite_that_vanishes_in_one_layer_is_worse_than_another_that_is_a_little_large() -> None:
    gains = np.full((3, 60), 1.3)
    gains[1, 30:] = 0.06
    figure = RUN_FIGURES["composite"](Recording(layers("composite_amax_forward_mean", gains)), Window())
    assert figure["layout"]["meta"]["reading"].startswith("Worst layer 1, forward: 0.06")
    assert figure["data"][0]["y"][0] == 1.3 and figure["data"][0]["y"][-1] == 0.06
    gains[2, 40:] = 40.0
    figure = RUN_FIGURES["composite"](Recording(layers("composite_amax_forward_mean", gains)), Window())
    assert figure["layout"]["meta"]["reading"].startswith("Worst layer 2, forward: 40")


def test_a_healthy_composite_still_shows_band_and_threshold() -> None:
    gains = Recording(layers("composite_amax_forward_mean", np.full((3, 60), 1.01)))
    low, high = RUN_FIGURES["composite"](gains, Window())["layout"]["yaxis"]["range"]
    assert 10**low < 0.6 and 10**high > 10


def test_the_profile_over_depth_ends_with_the_newest_step() -> None:
    gains = np.exp(np.outer(np.arange(6), np.arange(40)) / 50)
    figure = RUN_FIGURES["composite_depth"](Recording(layers("composite_amax_forward_mean", gains)), Window())
    (now,) = traces(figure, "forward now")
    assert now["y"] == pytest.approx(gains[:, 39].tolist(), rel=1e-4)
    assert len([trace for trace in figure["data"] if not trace["showlegend"]]) == 4


def group(key: str, rows: Any) -> GroupSeries:
    matrix = np.asarray(rows, dtype=np.float64)
    mean = np.nanmean(np.where(np.isfinite(matrix), matrix, np.nan), axis=0)
    members = tuple(SeedSeries(f"{key}-{i}", f"{key} {i}", i, row) for i, row in enumerate(matrix))
    return GroupSeries(key, np.arange(matrix.shape[1]), mean, matrix.min(axis=0), matrix.max(axis=0), members)


def test_a_seed_that_ends_early_is_crossed_where_it_ends() -> None:
    rows = [[1.0, 2.0, np.nan, np.nan], [1.0, 2.0, 3.0, 4.0]]
    figure = COMPARE_FIGURES["seeds"]([group("hc", rows)], "loss")
    (ends,) = traces(figure, "seed ends")
    assert (ends["x"], ends["y"]) == ([1], [2.0])
    assert "1 of 2 seeds end before the last step" in figure["layout"]["meta"]["reading"]


def test_more_groups_than_colours_are_told_apart_by_their_dashes() -> None:
    many = [group(f"g{number}", [[1.0, 2.0, 3.0]]) for number in range(18)]
    drawn = [
        trace["line"] for trace in COMPARE_FIGURES["seeds"](many, "loss")["data"] if "dash" in trace["line"]
    ]
    assert len({(line["color"], line["dash"]) for line in drawn}) == len(drawn) == 18


def test_groups_have_colours_of_their_own_and_log_signals_a_log_axis() -> None:
    groups = [group("hc", [[1.0, 9.0]]), group("mhc", [[1.0, 1.0]])]
    figure = COMPARE_FIGURES["seeds"](groups, "composite_amax_forward_max")
    means = [trace for trace in figure["data"] if trace["name"].endswith("(1 seed)")]
    assert len({trace["line"]["color"] for trace in means}) == 2
    assert figure["layout"]["yaxis"]["type"] == "log"


def test_timelines_stand_one_above_the_other_with_an_alert_where_it_fired() -> None:
    figure = COMPARE_FIGURES["timelines"]({"hc <i>": [ALERT], "mhc": []}, {"hc <i>": 99, "mhc": 100})
    (critical,) = traces(figure, "critical")
    assert (critical["x"], critical["y"]) == ([48], [0])
    assert figure["layout"]["annotations"][0]["text"] == "hc &lt;i&gt;"
    assert figure["layout"]["meta"]["reading"] == "1 of 2 runs had a critical stability alert."


def test_timelines_count_lost_contact_apart_from_stability() -> None:
    silent = AlertMark("heartbeat_lost", "critical", "firing", "heartbeat", 90, 90, None, "Nothing came.")
    runs = {"unstable": [ALERT], "silent": [silent], "both": [ALERT, silent], "calm": []}
    told = COMPARE_FIGURES["timelines"](runs)["layout"]["meta"]["reading"]
    assert told == "2 of 4 runs had a critical stability alert; contact was lost with 2."


def test_timelines_tell_that_runs_are_not_equally_long() -> None:
    runs: dict[str, list[AlertMark]] = {"a": [], "b": [], "c": []}
    told = COMPARE_FIGURES["timelines"](runs, {"a": 35, "b": 92, "c": 199})["layout"]["meta"]["reading"]
    assert "Lengths differ, 36 to 200 steps; 2 of 3 are shorter than the longest." in told
    alike = COMPARE_FIGURES["timelines"](runs, {"a": 199, "b": 198, "c": 199})["layout"]["meta"]["reading"]
    assert "Lengths" not in alike


@given(st.floats(-30, 30), st.floats(0.001, 40))
def test_a_log_axis_has_few_ticks_and_all_are_inside(bottom: float, span: float) -> None:
    places = ticks(bottom, bottom + span)
    assert len(places) <= 8
    assert all(bottom <= np.log10(place) <= bottom + span for place in places)


@st.composite
def recordings(draw: Callable[..., Any]) -> Recording:
    """Any run: empty, of one point, of NaN only, with layers of unequal length."""
    columns: dict[str, Any] = {}
    scalars = ("loss", "grad_norm", "grad_norm_clipped", "clip_coefficient", "headroom_bits", "learning_rate")
    for name in draw(st.sets(st.sampled_from((*scalars, "canary_embedding_rms", "step_seconds")))):
        columns[name] = series(draw(st.lists(NUMBERS, max_size=40)), draw(st.integers(0, 10**9)))
    per_layer = (
        "layer_amax_forward_max",
        "layer_amax_forward_mean",
        "composite_amax_forward_mean",
        "composite_amax_backward_max",
        "stream_rms",
        "stream_max",
    )
    for name in draw(st.sets(st.sampled_from(per_layer))):
        for layer in range(draw(st.integers(1, 4))):
            columns[f"{name}[{layer}]"] = series(draw(st.lists(NUMBERS, max_size=20)))
    return Recording(columns, draw(st.lists(st.just(ALERT), max_size=2)))


WINDOWS = st.builds(
    Window,
    start=st.none() | st.integers(0, 50),
    stop=st.none() | st.integers(0, 50),
    buckets=st.integers(1, 5000),
)


@settings(max_examples=120, deadline=None)
@given(recording=recordings(), window=WINDOWS)
def test_no_run_breaks_a_figure_and_every_figure_is_json(recording: Recording, window: Window) -> None:
    for draw in RUN_FIGURES.values():
        figure = draw(recording, window)
        text = json.dumps(figure, allow_nan=False)
        assert figure["layout"]["meta"]["reading"]
        assert not re.search(r'"#[0-9a-f]{3,8}"', text), "colours are named by role"
        assert all(trace["type"] in ("scatter", "heatmap") for trace in figure["data"])


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=4))
def test_no_group_of_seeds_breaks_a_figure(rows: list[list[float]]) -> None:
    matrix = np.asarray(rows, dtype=np.float64)
    members = tuple(SeedSeries(f"r{i}", f"run {i}", None, row) for i, row in enumerate(matrix))
    one = GroupSeries("g", np.arange(3), matrix[0], matrix[0], matrix[-1], members)
    for column in ("loss", "composite_amax_forward_max", "my.own/series", "not a name!"):
        figure = COMPARE_FIGURES["seeds"]([one], column)
        assert json.loads(json.dumps(figure, allow_nan=False)) == figure
        assert figure["layout"]["meta"]["empty"] or figure["layout"]["meta"]["reading"]


def test_empty_comparisons_say_so() -> None:
    assert COMPARE_FIGURES["seeds"]([], "loss")["layout"]["meta"]["empty"]
    assert COMPARE_FIGURES["timelines"]({})["layout"]["meta"]["empty"]

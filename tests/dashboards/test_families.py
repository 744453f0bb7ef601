"""Every figure of every family: what must be seen is in it, and no run breaks it in any view."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dashboards.every_signal import every_signal

from foreshock.dashboards.figures import (
    FAMILIES,
    LAYER_FIGURES,
    RUN_FIGURES,
    figures_of,
    layer_figures_of,
    resolve,
)
from foreshock.dashboards.figures.frame import MAX_COLUMNS, MAX_POINTS
from foreshock.dashboards.figures.layer import signals_of
from foreshock.dashboards.recording import Recording
from foreshock.wire import CATALOGUE
from foreshock.wire.readings import AlertMark, Window

RUN = every_signal(1200, 5)
VIEWS: list[dict[str, Any]] = [
    {},
    {"log_y": True},
    {"log_y": False},
    {"smooth": 8.0},
    {"axis": "time"},
    {"axis": "tokens", "smooth": 2.0, "log_y": True},
]


def known(name: str, view: dict[str, Any]) -> dict[str, Any]:
    return {option: value for option, value in view.items() if option in RUN_FIGURES[name].options}


def check(figure: dict[str, Any]) -> None:
    """What every figure must hold, whatever the run."""
    text = json.dumps(figure, allow_nan=False)
    meta = figure["layout"]["meta"]
    assert meta["title"] and meta["reading"] and meta["reading"][-1] == "."
    assert "<b>rule" not in text and "var(" not in json.dumps(resolve(figure, "dark"))
    for trace in figure["data"]:
        if trace["type"] == "heatmap":
            assert all(len(row) <= MAX_COLUMNS for row in trace["z"])
        else:
            most = 2 * MAX_POINTS + 40 if trace.get("fill") else MAX_POINTS
            assert len(trace["x"]) == len(trace["y"]) <= most
            assert trace.get("yaxis", "y").replace("y", "yaxis", 1) in figure["layout"]


@pytest.mark.parametrize("view", VIEWS, ids=str)
@pytest.mark.parametrize("name", RUN_FIGURES)
def test_a_run_that_tells_everything_fills_every_figure_in_every_view(
    name: str, view: dict[str, Any]
) -> None:
    figure = RUN_FIGURES[name](RUN, Window(), **known(name, view))
    check(figure)
    assert not figure["layout"]["meta"]["empty"] and figure["layout"]["meta"]["table"]["rows"]


@pytest.mark.parametrize("name", RUN_FIGURES)
def test_a_run_that_tells_nothing_is_told_so(name: str) -> None:
    figure = RUN_FIGURES[name](Recording({}), Window())
    check(figure)
    assert figure["layout"]["meta"]["empty"]


def of_constant(value: float, num_steps: int, layers: tuple[int, ...] = (0, 2)) -> Recording:
    """Every series, of that value at every step; layer 1 is missing."""
    at = np.arange(num_steps), np.full(num_steps, value)
    columns = {
        name: at
        for signal in CATALOGUE.values()
        for series in signal.series
        for name in ([f"{series}[{layer}]" for layer in layers] if signal.per_layer else [series])
    }
    alert = AlertMark("<b>rule</b>", "critical", "firing", "x", 0, 0, None, "<b>rule</b>")
    return Recording({**columns, "domain_loss/code": at}, [alert])


@pytest.mark.parametrize("value", [0.0, -1.0, 1.0, 3.4e38, 1e-45, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("num_steps", [1, 3])
def test_no_value_breaks_any_figure(value: float, num_steps: int) -> None:
    run = of_constant(value, num_steps)
    for view in VIEWS:
        for name, figure in RUN_FIGURES.items():
            check(figure(run, Window(), **known(name, view)))
    for layer in (0, 1, 7):
        for of_layer in LAYER_FIGURES.values():
            check(of_layer(run, Window(), layer))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=6), st.integers(0, 2**50))
def test_no_mixture_of_values_breaks_any_panel(values: list[float], start: int) -> None:
    steps = np.arange(start, start + len(values))
    columns = {name: (steps, np.asarray(values)) for name in ("log_z_max", "step_seconds", "adam_rms")}
    columns |= {f"{series}[1]": columns["log_z_max"] for series in ("logit_range_max", "router_entropy")}
    for name in ("logits", "pace", "update", "audit", "router_load"):
        for view in VIEWS:
            check(RUN_FIGURES[name](Recording(columns), Window(), **known(name, view)))


def test_a_spike_of_one_step_is_in_a_panel_of_a_million_steps() -> None:
    values = np.full(1_000_000, 0.3)
    values[777_777] = 55.0
    figure = RUN_FIGURES["pace"](Recording({"step_seconds": (np.arange(1_000_000), values)}), Window())
    check(figure)
    band = next(trace for trace in figure["data"] if trace["name"] == "min to max")
    assert max(value for value in band["y"] if value is not None) == 55.0


def test_every_series_of_the_catalogue_is_in_some_figure() -> None:
    told = {need for figure in RUN_FIGURES.values() for need in figure.needs}
    absent = {signal.name for signal in CATALOGUE.values() if not told & set(signal.series)}
    canaries = {name for name in absent if name.startswith("canary_")}
    assert absent - canaries == {"process_cpu_percent"}


def test_titles_are_those_of_the_registry() -> None:
    for name, figure in RUN_FIGURES.items():
        if name not in ("loss", "gain_map"):
            assert figure(RUN, Window())["layout"]["meta"]["title"] == figure.title


def test_a_run_lists_what_it_can_show() -> None:
    only_loss = figures_of(Recording({"loss": ([0], [1.0])}))
    assert {one["name"] for one in only_loss} == {"loss"}
    everything = figures_of(RUN)
    assert {one["name"] for one in everything} == set(RUN_FIGURES)
    order = list(dict.fromkeys(one["family"] for one in everything))
    assert order == list(FAMILIES)
    assert {"axis", "log_y", "smooth"} <= set(next(iter(everything))["options"])


def test_a_panel_names_the_worst_layer_and_since_when_it_is_out_of_its_band() -> None:
    load = np.full((4, 60), 0.5)
    load[2, 20:] = 4.0
    run = Recording(
        {f"router_max_violation[{layer}]": (np.arange(60), row) for layer, row in enumerate(load)}
    )
    figure = RUN_FIGURES["router_load"](run, Window())
    assert figure["layout"]["meta"]["reading"] == "Max violation 4 at layer 2, over 2 since step 20."
    (line,) = (trace for trace in figure["data"] if trace["name"] == "max violation")
    assert line["meta"] == {"layer": "customdata"} and line["customdata"][-1] == 2
    assert line["y"][-1] == 4.0


def test_of_what_is_worse_when_low_the_lowest_layer_is_shown() -> None:
    entropy = {"router_entropy[0]": ([0, 1], [0.99, 0.99]), "router_entropy[1]": ([0, 1], [0.99, 0.4])}
    told = RUN_FIGURES["router_load"](Recording(entropy), Window())["layout"]["meta"]["reading"]
    assert told == "Entropy of loads 0.4 at layer 1, under 0.7 since step 1."


def test_what_ends_in_an_infinity_is_told_by_its_last_finite_value() -> None:
    load = Recording({"router_max_violation[0]": ([0, 1], [0.5, np.inf])})
    told = RUN_FIGURES["router_load"](load, Window())["layout"]["meta"]["reading"]
    assert told == "Max violation 0.5 at layer 0; +Inf since step 1."


def test_a_singular_value_that_was_never_told_is_not_one_that_is_broken() -> None:
    columns = {
        f"log_singular_value_mean[{number}]": (np.arange(50), np.full(50, -number)) for number in (0, 2)
    }
    figure = RUN_FIGURES["spectrum"](Recording(columns), Window())
    names = {trace.get("name") for trace in figure["data"]}
    assert "log \N{GREEK SMALL LETTER SIGMA}3" in names and "log \N{GREEK SMALL LETTER SIGMA}2" not in names
    assert "finite" not in figure["layout"]["meta"]["reading"]


def test_what_is_in_its_band_is_told_with_the_band() -> None:
    columns = {"max_attention_logit[0]": ([0], [14.0]), "log_z_mean": ([0], [8.0]), "log_z_max": ([0], [9.0])}
    told = RUN_FIGURES["logits"](Recording(columns), Window())["layout"]["meta"]["reading"]
    assert told.startswith("Largest attention logit 14 nat at layer 0 (healthy up to 1000); log Z")


def test_dead_experts_are_worse_when_many() -> None:
    dead = {"router_dead_experts[0]": ([0], [0.0]), "router_dead_experts[1]": ([0], [0.6])}
    told = RUN_FIGURES["gain_map"](Recording(dead), Window(), series="router_dead_experts")["layout"]["meta"]
    assert told["reading"].startswith("Layer 1 is farthest from health: 0.6")


@pytest.mark.parametrize(
    "signal", [one for one in CATALOGUE.values() if one.per_layer], ids=lambda one: one.name
)
def test_the_map_of_every_signal_has_its_unit_and_a_scale_that_holds_it(signal: Any) -> None:
    for series in signal.series:
        figure = RUN_FIGURES["gain_map"](RUN, Window(), series=series)
        heat = figure["data"][0]
        cells = [cell for row in heat["z"] for cell in row if cell is not None]
        assert heat["zmin"] <= min(cells) <= max(cells) <= heat["zmax"]
        assert heat["zmin"] < heat["zmax"] and heat["meta"] == {"layer": "y"}
        unit = heat["colorbar"].get("title", {}).get("text", "")
        assert unit == ("" if signal.unit in ("1", "ratio") else signal.unit)


def test_the_phase_picture_tells_the_time_bomb() -> None:
    steps = np.arange(100)
    gains = 1.02**steps
    run = Recording(
        {"loss": (steps, 5 - 0.03 * steps), "composite_amax_forward_mean[0]": (steps, gains)},
    )
    told = RUN_FIGURES["gain_phase"](run, Window())["layout"]["meta"]["reading"]
    assert "the loss still falls while the gain grows" in told


def test_a_layer_is_shown_against_the_median_and_the_range_of_all() -> None:
    rows = np.array([[1.0, 1.0], [1.0, 3.0], [1.0, 9.0]])
    run = Recording({f"layer_amax_forward_max[{layer}]": ([0, 1], row) for layer, row in enumerate(rows)})
    figure = LAYER_FIGURES["gains"](run, Window(), 1)
    own, median = (trace for trace in figure["data"] if not trace.get("fill"))
    assert own["y"] == [1.0, 3.0] and median["y"] == [1.0, 3.0] and median["name"] == "median layer"
    (area,) = (trace for trace in figure["data"] if trace.get("fill"))
    assert max(area["y"]) == 9.0 and min(area["y"]) == 1.0
    assert "over 1.1 since step 1" in figure["layout"]["meta"]["reading"]
    assert [one["name"] for one in layer_figures_of(run, 1)] == ["gains"]
    assert layer_figures_of(run, 3) == []


def test_every_per_layer_signal_is_in_one_set_of_a_layer() -> None:
    shown = [signal.name for name in LAYER_FIGURES for signal in signals_of(name)]
    assert len(shown) == len(set(shown))
    # The logarithms repeat the composites, and singular values are no layers
    absent = {one.name for one in CATALOGUE.values() if one.per_layer} - set(shown)
    assert all(name.startswith("log_composite_") or name == "log_singular_value" for name in absent)

"""The picture around an alert's step: what is in it, who may see it, what it costs."""

import io
import math

import numpy as np
import pytest
from PIL import Image
from tests.server.conftest import Writer

from foreshock.dashboards.figures import colours
from foreshock.server.alerts import picture, snapshot
from foreshock.server.alerts.panel import MAX_PANELS, choose, read_panels
from foreshock.server.alerts.risk_panel import TITLE, risk_at, risk_panel
from foreshock.wire.readings import RiskBuckets, Window


def image_of(http, run, number):
    answer = http.get(f"/api/v1/alerts/{run}/{number}/snapshot.png")
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png", answer.text
    assert "private" in answer.headers["cache-control"]
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int), answer.content


def count(image, role, tolerance=24):
    """Pixels near a role's colour."""
    said = colours("light")[role]
    wanted = np.array([int(said[at : at + 2], 16) for at in (1, 3, 5)])
    return int((np.abs(image - wanted).max(axis=-1) <= tolerance).sum())


@pytest.fixture
def run(http):
    """60 steps of a loss, a gain of four layers and a signal of one's own; from step 50 on NaN."""
    columns = ["loss", "mine", *(f"layer_amax_forward_mean[{layer}]" for layer in range(4))]
    writer = Writer(http).start(*columns, total_steps=100)
    rows = [
        [math.exp(-step / 30), step, *(1 + layer * step / 10 for layer in range(4))] for step in range(60)
    ]
    for step in range(50, 60):
        rows[step][0] = math.nan
    assert writer.send(writer.batch(range(60), rows)).status_code == 200
    return writer


def test_it_shows_the_alerts_step_the_signals_and_what_is_not_finite(http, run, store, change):
    store("run-1", change("firing", 40), change("firing", 45, subject="loss", severity="warning"))
    image, content = image_of(http, "run-1", 1)
    assert image.shape[1] == 1200 and len(content) < 200_000
    lines, broken = count(image, "series-1"), count(image, "critical")
    assert lines > 200 and broken > 200
    # Of a warning the moment is drawn in another colour, and red is what is not finite alone
    warned, _ = image_of(http, "run-1", 2)
    assert count(warned, "warning") > 200 and 20 < count(warned, "critical") < broken


def test_a_loss_that_is_well_has_nothing_red(http, store, change):
    writer = Writer(http, "well").start("loss")
    writer.send(writer.batch(range(20), [1.0] * 20))
    store("well", change("firing", 10, severity="info"))
    image, _ = image_of(http, "well", 1)
    assert count(image, "critical") == 0 and count(image, "series-1") > 50


def test_the_alerts_own_signal_comes_after_the_loss_and_the_rest_is_counted():
    layers = {f"own-{number}": None for number in range(40)} | {
        "loss": None,
        "grad_norm": None,
        "layer_amax_forward_mean": 4,
        "layer_amax_forward_max": 4,
        "stream_max": 4,
    }
    shown, num_more = choose(layers, "stream_max", "stream")
    assert shown[:3] == ["loss", "stream_max", "grad_norm"] and len(shown) == MAX_PANELS
    # One reduction of a signal is enough: the worst
    assert "layer_amax_forward_max" in shown and "layer_amax_forward_mean" not in shown
    assert num_more == len(layers) - 1 - MAX_PANELS
    # An alert of the mean shows the mean
    assert choose(layers, "layer_amax_forward_mean", "amax")[0][1] == "layer_amax_forward_mean"
    assert choose(layers, None, "own-3")[0][:2] == ["loss", "own-3"]


def test_panels_say_what_is_stored(http, run):
    stored = http.app.state.collector.run("run-1")
    layers = stored.num_layers()
    panels = {one.series: one for one in read_panels(stored, list(layers), layers, 2, Window(0, 59, 256, 0))}
    gain = panels["layer_amax_forward_mean"]
    steps = np.arange(60)
    np.testing.assert_allclose(gain.low, np.ones(60), rtol=1e-6)
    np.testing.assert_allclose(gain.high, 1 + 3 * steps / 10, rtol=1e-6)
    np.testing.assert_allclose(gain.middle, 1 + 1.5 * steps / 10, rtol=1e-6)
    np.testing.assert_allclose(gain.own, 1 + 2 * steps / 10, rtol=1e-6)
    assert panels["loss"].broken.tolist() == list(range(50, 60)) and panels["mine"].broken.size == 0


@pytest.mark.parametrize("values", [[math.inf] * 9, [0.0] * 9, [1e300, -1e300] * 4 + [0.0], [math.nan] * 9])
def test_no_value_keeps_it_from_being_drawn(http, store, change, values):
    writer = Writer(http, "odd").start("loss", "grad_norm", *(f"stream_max[{layer}]" for layer in range(2)))
    matrix = np.array([[value] * 4 for value in values], np.float64).clip(-3e38, 3e38)
    writer.send(writer.batch(range(9), np.where(np.isfinite(np.array(values))[:, None], matrix, np.nan)))
    odd = change("firing", 5, subject="ünïcode \N{SNOWMAN}")
    store("odd", odd)
    image_of(http, "odd", 1)


def test_a_run_without_a_step_and_an_alert_far_from_any_have_a_picture(http, run, store, change):
    Writer(http, "empty").start("loss")
    store("empty", change("firing", 0))
    store("run-1", change("firing", 10**9))
    image_of(http, "empty", 1)
    image_of(http, "run-1", 1)


def test_it_is_drawn_once_while_nothing_changes(http, run, store, change, monkeypatch):
    drawn = []
    draw = snapshot.draw_picture
    monkeypatch.setattr(snapshot, "draw_picture", lambda *said: drawn.append(1) or draw(*said))
    store("run-1", change("firing", 40))
    first = image_of(http, "run-1", 1)[1]
    assert image_of(http, "run-1", 1)[1] == first and len(drawn) == 1
    run.send(run.batch([60], [[1.0] * 6]))
    image_of(http, "run-1", 1)
    assert len(drawn) == 2


def test_there_is_no_picture_of_a_group_nor_of_an_alert_that_is_not_there(http, store, change, problem):
    store("group:demo/mhc", change("firing", 3))
    problem(http.get("/api/v1/alerts/group:demo/mhc/1/snapshot.png"), 404, "unknown-snapshot")
    problem(http.get("/api/v1/alerts/run-1/7/snapshot.png"), 404, "unknown-alert")


def judged(http):
    collector = http.app.state.collector
    collector.judge.stop()
    collector.judge._stop.clear()
    for _ in range(3):
        collector.judge._due.clear()
        collector.judge.turn()


def test_what_was_forecast_has_a_panel_beside_the_loss(http, run, store, change, monkeypatch):
    drawn = []
    draw = snapshot.draw_picture
    monkeypatch.setattr(snapshot, "draw_picture", lambda *said: drawn.append(said) or draw(*said))
    store("run-1", change("firing", 40), change("firing", 41, subject="loss"))
    before, _ = image_of(http, "run-1", 1)
    judged(http)
    # Of the same alert another picture: the judge has come further than the picture knew
    after, _ = image_of(http, "run-1", 1)
    (_, without), (caption, panels) = drawn
    assert [one.series for one in panels[:2]] == ["loss", TITLE]
    assert len(panels) == len(without) + 1
    assert "risk " in caption.note and "within 10%" in caption.note
    # Of so short a run several horizons are as long, and one line hides another; each has its name
    for role in ("series-2", "series-3", "series-4"):
        assert count(after, role) > count(before, role)
    assert sum(count(after, f"series-{number}") - count(before, f"series-{number}") for number in (1, 4)) > 50
    told = http.get("/api/v1/runs/run-1/risk", params={"start": 0, "stop": 59}).json()
    steps, lines = panels[1].steps.tolist(), dict(panels[1].lines)
    assert steps == told["first_step"] == list(range(60))
    assert lines["10%"].tolist() == told["risk"]["10%"]


def test_a_risk_that_is_next_to_nothing_looks_so():
    steps = np.arange(5)
    risk = {name: np.full(5, 1e-5) for name in ("20", "100", "5%", "10%")}
    small = risk_panel(RiskBuckets.of(1, steps, risk))
    assert small is not None and small.shown == (0.0, 0.1)
    axis = picture._Axis.of(small, (0, 0, 100, 100), picture.Caption("", "", "", "info", 0, 4, 2))
    assert axis.y(1e-5) > 90 and axis.y(0.1) < 10
    assert risk_at(RiskBuckets.of(1, steps + 3, risk), 2) == {}
    assert risk_at(RiskBuckets.of(1, steps + 3, risk), 9)["20"] == 1e-5
    assert risk_panel(RiskBuckets.of(1, steps[:0], {"20": np.zeros(0)})) is None

"""Whole ways of a person through the pages, and runs that are not as runs should be.

Single deeds are tried where their page is: alerts acknowledged and silenced in test_lists_in_browser; notes,
a click on the map, a run deleted and a wrong clock in test_run_page; a restart in test_pages_in_browser.
"""

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from tests.dashboards.conftest import Visit
from tests.dashboards.observatory import Observatory, append
from tests.dashboards.test_pages_in_browser import drag, drawn, wait_for_figures, wait_until

from foreshock.wire import Layout, make_batch

pytestmark = pytest.mark.browser

SMALL = {"viewport": {"width": 400, "height": 800}}
# Right-to-left override, an isolate that is never closed, markup, and as long as a name may be
LONG = ("\u202eevil\u2066 <b onclick=alert(1)>" + "x" * 200)[:200]


def send(
    observatory: Any, run_id: str, columns: dict[str, Any], *, first: int = 0, attempt: int = 0, **said: Any
) -> None:
    """A run's attempt, told whole: columns [steps], from step `first` on."""
    values = np.stack(list(columns.values()), axis=1).astype(np.float32)
    steps = np.arange(first, first + len(values))
    times = time.time() - 60 + 50 * np.arange(len(values)) / len(values)
    declared = {
        "run_id": run_id,
        "name": run_id,
        "project": "odd",
        "started_at": float(times[0]),
        "attempt": attempt,
        **said,
    }
    session = f"{run_id}-{attempt}" if attempt else run_id
    observatory.http.post("/api/v1/runs", json=declared | {"session": session}).raise_for_status()
    append(observatory.http, run_id, Layout(0, 0, "step", tuple(columns)), attempt=attempt)
    for number, at in enumerate(range(0, len(values), 20_000), start=1):
        part = slice(at, at + 20_000)
        batch = make_batch(number, 0, steps[part], times[part], values[part])
        append(observatory.http, run_id, batch, attempt=attempt)


def test_a_run_dies_while_it_is_watched_and_all_pages_say_so(visit: Any, observatory: Any) -> None:
    trainer = observatory.trainer("watched", "hc", 3, dies_at=70, project="watched").train(60)
    beside = Visit(visit.page.context.new_page(), observatory.url)
    beside.open("/?project=watched").wait_for_selector('[data-key="watched"] .mark[data-level="safe"]')
    page = visit.open("/runs/watched")
    page.wait_for_selector('#health[data-level="safe"]')
    wait_for_figures(page)
    for tab in (page, beside.page):
        tab.evaluate("window.marker = 'not reloaded'")
    trainer.train(20)
    page.wait_for_selector('#health[data-level="dead"]')
    # By step 79 first, until the judge has said since when
    page.wait_for_selector('#health-sentence:text("NaN since step 70")')
    page.wait_for_selector('#open-alerts .alert[data-severity="critical"]')
    page.wait_for_selector('.moment[data-severity="critical"]')
    page.wait_for_selector('[data-figure="loss"] .reading:text("NaN since step 70")')
    assert "Risk:" not in page.inner_text('[data-figure="loss"] .reading')
    beside.page.wait_for_selector('[data-key="watched"] .mark[data-level="dead"]')
    assert "NaN" in beside.page.inner_text('[data-key="watched"]')
    assert all(tab.evaluate("window.marker") == "not reloaded" for tab in (page, beside.page))
    assert visit.complaints == beside.complaints == [] and visit.foreign() == beside.foreign() == []


def test_a_view_is_shared_by_its_address(visit: Any, chromium: Any, observatory: Any) -> None:
    page = visit.open("/runs/hc-0")
    page.click("#tab-gains")
    wait_for_figures(page)
    page.select_option("#axis", "time")
    page.select_option("#smooth", "5")
    page.select_option("#map-series", "stream_rms")
    wait_until(page, lambda: "wall time" in (page.text_content('[data-figure="composite"] .xtitle') or ""))
    drag(page, "composite", 0.25, 0.5)
    page.wait_for_url("**from=**")
    window = page.inner_text("#window")
    context = chromium.new_context()
    other = Visit(context.new_page(), observatory.url)
    seen = other.open(page.url.removeprefix(observatory.url))
    wait_for_figures(seen)
    assert seen.get_attribute("#tab-gains", "aria-selected") == "true"
    chosen = [seen.input_value(name) for name in ("#axis", "#smooth", "#map-series")]
    assert chosen == ["time", "5", "stream_rms"]
    assert seen.inner_text("#window") == window != "whole run"
    wait_until(page, lambda: drawn(page, "composite")["range"] == drawn(seen, "composite")["range"])
    assert visit.complaints == other.complaints == []
    context.close()


def test_six_seeds_settle_an_argument_and_their_report_is_taken_home(
    visit: Any, chromium: Any, tmp_path: Path
) -> None:
    runs = [f"{group}-{seed}" for group in ("hc", "mhc") for seed in range(3)]
    page = visit.open(f"/compare?runs={'%2C'.join(runs)}&group_by=connection")
    wait_for_figures(page)
    assert page.inner_text("#tally") == "2 groups, 6 runs"
    assert page.inner_text('[data-figure="difference"] .reading').startswith("hc over mhc")
    assert "3 of 6 runs had a critical" in page.inner_text('[data-figure="timelines"] .reading')
    # What died has no final loss, here as in the verdict
    ends = [
        page.inner_text(f'[data-key="{key}"] [data-label="Final loss"]') for key in ("hc/hc-2", "mhc/mhc-1")
    ]
    assert ends == ["\N{EN DASH}", "2.104"]
    with page.expect_download() as started:
        page.click("#report")
    file = tmp_path / started.value.suggested_filename
    started.value.save_as(file)
    context = chromium.new_context(offline=True)
    home = Visit(context.new_page(), "file:")
    home.page.goto(file.as_uri())
    home.page.wait_for_selector(".js-plotly-plot .main-svg")
    assert "Diverged at step 200" in home.page.inner_text("body")
    assert home.complaints == [] and home.foreign() == []
    assert visit.complaints == [] and visit.foreign() == []
    context.close()


def test_hands_that_never_leave_the_keyboard(visit: Any) -> None:
    page = visit.open("/?project=depth&sort=name&order=asc")
    page.wait_for_selector('[data-key="hc-0"]')
    page.keyboard.press("/")
    page.keyboard.type("hc-0")
    page.wait_for_function("() => document.querySelectorAll('#runs tbody tr').length === 2")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    opened = page.evaluate("document.activeElement.closest('tr').dataset.key")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{opened}")
    wait_for_figures(page)
    page.keyboard.press("]")
    page.wait_for_url("**tab=loss**")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.dataset.figure") == "loss"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('[data-figure]').dataset.figure") == "loss"
    page.keyboard.press("l")
    page.wait_for_url("**/layers/*")
    page.wait_for_selector("#now tbody tr")
    page.keyboard.press("u")
    page.wait_for_url(f"**/runs/{opened}?tab=loss")
    page.keyboard.press("?")
    page.wait_for_selector("dialog.keys[open]")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.keys", state="hidden")
    assert visit.complaints == []


@pytest.mark.parametrize("visit", [SMALL], indirect=True)
@pytest.mark.parametrize("path", ["/runs/worst-name", "/runs/worst-name/layers/0", "/verdict?project={}"])
def test_the_worst_name_fits_the_pages_of_a_run(visit: Any, observatory: Any, path: str) -> None:
    if observatory.http.get("/api/v1/runs/worst-name").status_code == 404:
        columns = {"loss": np.ones(30), "layer_amax_forward_mean[0]": np.ones(30)}
        said = {"name": LONG, "project": LONG, "group": LONG, "tags": [LONG[:100]], "config": {LONG: LONG}}
        send(observatory, "worst-name", columns, **said)
        note = {"step": 3, "author": LONG, "text": LONG}
        observatory.http.post("/api/v1/runs/worst-name/notes", json=note).raise_for_status()
    page = visit.open(path.format(quote(LONG)))
    page.wait_for_function("() => document.body.innerText.includes('<b onclick=alert(1)>')")
    page.wait_for_timeout(400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.query_selector("main b[onclick]") is None and visit.complaints == []


def test_a_layer_that_falls_silent_in_mid_run_is_told(visit: Any, observatory: Any) -> None:
    gains = {f"layer_amax_forward_max[{layer}]": np.ones(80) for layer in range(4)}
    send(observatory, "hole", {"loss": np.linspace(5, 3, 80), **gains})
    append(observatory.http, "hole", Layout(2, 1, "step", ("loss", *list(gains)[:3])))
    rest = np.ones((80, 4), dtype=np.float32)
    append(
        observatory.http,
        "hole",
        make_batch(3, 1, np.arange(80, 160), time.time() - 5 + 0.01 * np.arange(80), rest),
    )
    page = visit.open("/runs/hole")
    wait_for_figures(page)
    page.wait_for_function("() => document.querySelector('#vitals dd').textContent.startsWith('159')")
    assert "undefined" not in page.inner_text("main")
    visit.open("/runs/hole/layers/3")
    wait_for_figures(page)
    assert "nothing of this layer since step 79" in page.inner_text("#facts")
    assert visit.complaints == []


def test_attempts_are_looked_at_one_by_one(visit: Any, observatory: Any) -> None:
    send(observatory, "again", {"loss": np.linspace(5, 3, 90)})
    send(observatory, "again", {"loss": np.linspace(4, 2, 50)}, first=60, attempt=1)
    page = visit.open("/runs/again")
    wait_for_figures(page)
    page.wait_for_selector(".moment[aria-label*='step 60: Resumed']")
    assert drawn(page, "loss")["last"] == 109
    page.select_option("#attempt", "0")
    wait_until(page, lambda: drawn(page, "loss")["last"] == 89)
    page.goto(page.url)
    wait_for_figures(page)
    assert page.input_value("#attempt") == "0" and drawn(page, "loss")["last"] == 89
    assert visit.complaints == []


def test_a_million_steps_are_drawn_as_five_hundred_and_a_spike_survives(visit: Any, observatory: Any) -> None:
    loss = 2 + 0.01 * np.sin(np.arange(1_000_000) / 1000)
    loss[654_321] = 9.0
    send(observatory, "million", {"loss": loss})
    page = visit.open("/runs/million")
    wait_for_figures(page)
    traces = "document.querySelector('[data-figure=loss] .js-plotly-plot').data"
    told = page.evaluate(
        f"[Math.max(...{traces}.map((one) => one.x.length)), Math.max(...{traces}.flatMap((one) => one.y))]"
    )
    assert told[0] <= 1500 and told[1] == 9.0
    page.goto(f"{observatory.url}/runs/million?from=654300&to=654340")
    wait_for_figures(page)
    assert page.evaluate(f"{traces}.some((one) => one.x.includes(654321))")
    assert visit.complaints == []


def test_a_page_that_was_there_before_the_judge_hears_of_it(
    visit: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    slow = Observatory(tmp_path_factory.mktemp("slow"), FORESHOCK_JUDGE_INTERVAL_SECONDS="40")
    try:
        visit.url = slow.url
        # The judge looks for runs every quarter of its interval
        slow.trainer("early", "mhc", 5, total=100).train(100).end()
        page = visit.open("/runs/early")
        page.wait_for_selector('#health[data-level="unknown"]')
        assert "waits to be judged" in page.inner_text("#health-sentence")
        page.wait_for_selector('#health[data-level="safe"]')
    finally:
        slow.close()


def test_escape_leaves_the_search_so_that_keys_are_keys_again(visit: Any) -> None:
    page = visit.open("/runs/hc-0")
    wait_for_figures(page)
    page.keyboard.press("/")
    page.wait_for_function("() => document.activeElement.id === 'search'")
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.activeElement.id !== 'search'")
    page.keyboard.press("j")
    assert page.input_value("#search") == "" and "q=" not in page.url

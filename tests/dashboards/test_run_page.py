"""The page of a run and the pages of its layers, as a person uses them."""

import csv
import io
import re
from typing import Any

import pytest
from tests.dashboards.test_pages_in_browser import drag, drawn, wait_for_figures, wait_until

pytestmark = pytest.mark.browser

SMALL = {"viewport": {"width": 400, "height": 800}}
WIDE = {"viewport": {"width": 3840, "height": 2160}, "color_scheme": "dark"}
DARK = {"color_scheme": "dark"}
PAGES = ("/runs/hc-0?from=20&to=120", "/runs/hc-2?tab=gains&axis=time", "/runs/hc-2/layers/0")


def titles(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all("[data-figure] h2", "all => all.map((one) => one.innerText)")
    return found


@pytest.mark.parametrize("visit", [SMALL, DARK, WIDE], indirect=True, ids=["400", "dark", "4K"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_at_every_size_and_keeps_nobody_out(visit: Any, path: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = visit.open(path)
    wait_for_figures(page)
    width = page.evaluate("document.documentElement.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert visit.complaints == [] and visit.foreign() == []
    grave = [
        (one["id"], [node["html"][:160] for node in one["nodes"][:3]])
        for one in axe.Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert grave == []


def test_tabs_are_chosen_by_keys_and_the_address_carries_them(visit: Any) -> None:
    page = visit.open("/runs/hc-0")
    wait_for_figures(page)
    page.focus("#tab-overview")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**tab=loss**")
    assert page.get_attribute("#tab-loss", "aria-selected") == "true"
    assert page.evaluate("document.activeElement.id") == "tab-loss"
    assert page.get_attribute("#panel", "aria-labelledby") == "tab-loss"
    assert not page.is_visible("#open-alerts")
    page.keyboard.press("]")
    page.wait_for_url("**tab=gains**")
    page.go_back()
    page.go_back()
    page.wait_for_selector('#tab-overview[aria-selected="true"]')
    assert visit.complaints == []


def test_a_figure_is_searched_for_over_all_tabs(visit: Any) -> None:
    page = visit.open("/runs/hc-0")
    wait_for_figures(page)
    page.keyboard.press("/")
    page.keyboard.type("headroom")
    page.wait_for_function("() => document.querySelector('[data-figure=headroom]')")
    assert len(titles(page)) < 3 and "q=headroom" in page.url
    page.fill("#search", "<b>no such")
    assert "No figure is called “<b>no such”" in page.inner_text("#no-figures")


def test_the_help_lists_the_keys_and_figures_are_walked_through(visit: Any) -> None:
    page = visit.open("/runs/hc-0")
    wait_for_figures(page)
    page.keyboard.press("?")
    page.wait_for_selector("dialog.keys[open]")
    told = page.inner_text("dialog.keys")
    assert "next figure" in told and "search for a figure" in told
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    for expected in ("loss", "composite"):
        page.keyboard.press("j")
        assert page.evaluate("document.activeElement.dataset.figure") == expected
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.dataset.figure") == "loss"
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector('[data-figure="composite"] .cursor-line:not([hidden])')


@pytest.mark.parametrize("axis", ["step", "time"])
def test_one_cursor_stands_in_all_figures(visit: Any, axis: str) -> None:
    page = visit.open(f"/runs/hc-0?axis={axis}")
    wait_for_figures(page)
    plot = page.query_selector('[data-figure="loss"] .nsewdrag')
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    values = page.wait_for_selector('[data-figure="composite"] .cursor-values:not([hidden])').inner_text()
    found = re.search(r"step (\d+)", values)
    assert found is not None and 60 <= int(found[1]) <= 80
    assert "forward, mean over tokens" in values
    assert page.is_hidden('[data-figure="loss"] .cursor-line')
    page.mouse.move(5, 5)
    page.wait_for_selector('[data-figure="composite"] .cursor-line', state="hidden")


def test_a_zoom_over_wall_time_is_a_window_of_steps(visit: Any) -> None:
    page = visit.open("/runs/hc-0?axis=time")
    wait_for_figures(page)
    assert "wall time" in (page.text_content('[data-figure="loss"] .xtitle') or "")
    drag(page, "loss", 0.25, 0.5)
    page.wait_for_url("**from=**")
    found = re.search(r"from=(\d+)&to=(\d+)", page.url)
    assert found is not None and 30 <= int(found[1]) <= 40 and 65 <= int(found[2]) <= 75
    page.select_option("#axis", "")
    wait_until(page, lambda: drawn(page, "loss")["range"] == [int(found[1]), int(found[2])])


def test_smoothing_keeps_the_raw_line_and_scales_are_chosen_one_by_one(visit: Any) -> None:
    page = visit.open("/runs/hc-0")
    wait_for_figures(page)
    traces = "document.querySelector('[data-figure=loss] .js-plotly-plot').data"
    lines = f"{traces}.filter((one) => one.name === 'loss').length"
    assert page.evaluate(lines) == 1
    page.select_option("#smooth", "5")
    page.wait_for_function(f"() => {lines} === 2")
    page.uncheck('[data-scale="composite"]')
    wait_until(page, lambda: drawn(page, "composite")["type"] == "linear")
    page.check('[data-scale="loss"]')
    wait_until(page, lambda: drawn(page, "loss")["type"] == "log")
    shared = page.url
    assert "smooth=5" in shared and "linear=composite" in shared and "log=loss" in shared
    page.goto(shared)
    wait_for_figures(page)
    assert drawn(page, "loss")["type"] == "log" and drawn(page, "composite")["type"] == "linear"


def test_a_click_on_the_time_line_shows_the_steps_around(visit: Any, observatory: Any) -> None:
    step = observatory.wait_for_alert("hc-0", "exit_amax")["fired_step"]
    page = visit.open("/runs/hc-0")
    wait_for_figures(page)
    mark = page.wait_for_selector('.moment[data-severity="critical"]')
    mark.hover()
    assert f"Step {step}" in page.inner_text("#timeline .tip")
    mark.click()
    page.wait_for_url("**from=**")
    found = re.search(r"from=(\d+)&to=(\d+)", page.url)
    assert found is not None and int(found[1]) < step < int(found[2])
    page.click("#timeline summary")
    rows = page.eval_on_selector_all("#timeline tbody tr", "rows => rows.map((row) => row.innerText)")
    assert any("Exit: Amax keeps rising, critical" in row for row in rows)


def test_a_note_is_written_at_a_step_and_stays_text(visit: Any, observatory: Any) -> None:
    observatory.trainer("noted", "mhc", 4).train(60)
    page = visit.open("/runs/noted")
    wait_for_figures(page)
    page.keyboard.press("n")
    page.fill("[name=step]", "25")
    page.fill("[name=author]", "Mira <b>")
    page.fill("[name=text]", "<img src=x onerror='window.hacked=1'>")
    page.click("#note-dialog .primary")
    page.wait_for_selector(".moment[aria-label*='Mira <b>']").hover()
    assert "<img src=x" in page.inner_text("#timeline .tip")
    assert page.evaluate("window.hacked") is None and visit.complaints == []
    (kept,) = observatory.http.get("/api/v1/runs/noted/notes").json()["notes"]
    assert kept["step"] == 25 and kept["author"] == "Mira <b>"


def test_a_row_of_the_map_leads_to_its_layer_and_back_with_the_window(visit: Any) -> None:
    page = visit.open("/runs/hc-0?from=60&to=100")
    wait_for_figures(page)
    plot = page.query_selector('[data-figure="gain_map"] .nsewdrag')
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * (1 - 4.5 / 12))
    page.wait_for_url("**/runs/hc-0/layers/4?from=60&to=100")
    wait_for_figures(page)
    assert page.inner_text("h1") == "Layer 4"
    assert drawn(page, "gains")["range"] == [60, 100]
    page.keyboard.press("]")
    page.wait_for_url("**/layers/5?from=60&to=100")
    page.wait_for_selector("#now tbody tr")
    page.keyboard.press("u")
    page.wait_for_url("**/runs/hc-0?from=60&to=100")


def test_a_layer_that_there_is_not_is_told(visit: Any) -> None:
    page = visit.open("/runs/hc-0/layers/99")
    page.wait_for_selector("#no-figures:not([hidden])")
    assert "Layer 99 has told nothing yet" in page.inner_text("#no-figures")
    assert visit.complaints == []


@pytest.mark.parametrize(
    ("figure", "kind"), [("loss", "PNG"), ("loss", "SVG"), ("loss", "CSV"), ("gain_map", "CSV")]
)
def test_a_figure_becomes_a_file(visit: Any, figure: str, kind: str) -> None:
    page = visit.open("/runs/hc-2")
    wait_for_figures(page)
    card = page.query_selector(f'[data-figure="{figure}"]')
    card.query_selector(".menu summary").click()
    with page.expect_download() as started:
        card.query_selector(f".menu-list button:text-is('{kind}')").click()
    content = started.value.path().read_bytes()
    name = started.value.suggested_filename
    assert re.fullmatch(r"[\w.-]+\." + kind.lower(), name)
    if kind == "CSV":
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
        assert rows[0][0] == "step" and all(len(row) == len(rows[0]) for row in rows)
        assert any("NaN" in row for row in rows if row[0] == "205")
        assert not any("NaN" in row for row in rows if row[0] == "100")
    else:
        assert content.startswith(b"\x89PNG" if kind == "PNG" else b"<svg")
        assert kind == "PNG" or b"<script" not in content
    assert visit.foreign() == [] and visit.complaints == []


def test_no_button_sends_a_figure_to_another_host(visit: Any) -> None:
    page = visit.open("/compare?project=depth&group_by=connection")
    wait_for_figures(page)
    buttons = page.eval_on_selector_all(".modebar-btn", "all => all.map((one) => one.dataset.title)")
    assert buttons and not any("hare" in button for button in buttons)


def test_a_run_deleted_while_it_is_looked_at_stays_to_be_read(visit: Any, observatory: Any) -> None:
    observatory.trainer("doomed", "mhc", 6).train(40)
    page = visit.open("/runs/doomed")
    wait_for_figures(page)
    observatory.http.delete("/api/v1/runs/doomed").raise_for_status()
    page.wait_for_selector("#notice:not([hidden])")
    assert "This run was deleted" in page.inner_text("#notice")
    assert drawn(page, "loss")["last"] == 39


@pytest.mark.parametrize(
    ("run_id", "num_steps", "dies_at"), [("empty", 0, None), ("single", 1, None), ("all-nan", 30, 0)]
)
def test_a_run_of_hardly_anything_is_told_as_it_is(
    visit: Any, observatory: Any, run_id: str, num_steps: int, dies_at: int | None
) -> None:
    trainer = observatory.trainer(run_id, "mhc", 2, total=30, dies_at=dies_at)
    if num_steps:
        trainer.train(num_steps)
    page = visit.open(f"/runs/{run_id}")
    page.wait_for_function("() => !document.getElementById('health-word').innerText.startsWith('Reading')")
    page.wait_for_timeout(500)
    assert "undefined" not in page.inner_text("main") and "[object" not in page.inner_text("main")
    if num_steps:
        page.wait_for_selector("[data-figure] .js-plotly-plot")
    assert visit.complaints == []


@pytest.mark.parametrize("hours", [-30, 30])
def test_ages_do_not_hang_on_the_clock_of_whoever_looks(visit: Any, observatory: Any, hours: int) -> None:
    visit.page.add_init_script(f"const now = Date.now; Date.now = () => now() + {hours * 3600 * 1000};")
    page = visit.open("/runs/hc-0")
    page.wait_for_selector("#facts .badge")
    told = page.inner_text("#facts")
    assert re.search(r"heard (just now|\d+ (s|min) ago)", told), told

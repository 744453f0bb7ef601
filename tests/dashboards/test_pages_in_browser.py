"""The pages in a real browser, on a real collector."""

import re
from typing import Any

import pytest

pytestmark = pytest.mark.browser

EVERY_PAGE = ("/", "/runs/hc-2", "/compare", "/verdict", "/alerts", "/benchmark", "/settings", "/login")
SMALL = {"viewport": {"width": 400, "height": 800}}
REACHES = "() => document.querySelector('[data-figure=loss] .js-plotly-plot').layout.xaxis.range[1] >= %d"
DARK = {"color_scheme": "dark"}


def scroll_through(page: Any) -> None:
    """Brings every figure on the screen once."""
    for card in page.query_selector_all("[data-figure]"):
        card.scroll_into_view_if_needed()
        page.wait_for_timeout(50)


def wait_for_figures(page: Any) -> None:
    """Waits until every figure is drawn, or says why it is not."""
    page.wait_for_selector("[data-figure]")
    scroll_through(page)
    page.wait_for_function(
        """() => [...document.querySelectorAll('[data-figure]')].every(
            (card) => card.querySelector('.js-plotly-plot') && !card.hasAttribute('data-busy'))"""
    )
    # Only what is on the screen is kept up to date
    page.evaluate("document.querySelector('[data-figure]').scrollIntoView({block: 'center'})")


def drawn(page: Any, figure: str) -> dict[str, Any]:
    """What plotly shows of a figure: last step of its first trace, and the range of its axis of steps."""
    found: dict[str, Any] = page.evaluate(
        """(name) => {
            const area = document.querySelector(`[data-figure="${name}"] .js-plotly-plot`);
            const steps = area.data.filter((trace) => trace.mode !== 'markers').flatMap((trace) => trace.x);
            return {last: Math.max(...steps), range: area.layout.xaxis.range, type: area.layout.yaxis.type};
        }""",
        figure,
    )
    return found


def drag(page: Any, figure: str, start: float, stop: float) -> None:
    """Drags over a part of a figure, as shares of its width."""
    plot = page.query_selector(f'[data-figure="{figure}"] .nsewdrag')
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + stop * box["width"], middle, steps=8)
    page.mouse.up()


@pytest.mark.parametrize("path", EVERY_PAGE)
def test_a_page_loads_without_a_complaint_and_asks_no_other_host(visit: Any, path: str) -> None:
    page = visit.open(path)
    page.wait_for_load_state("load")
    if path.startswith(("/runs/", "/compare", "/benchmark")):
        wait_for_figures(page)
    page.wait_for_timeout(300)
    assert visit.complaints == []
    assert visit.foreign() == []


def test_the_list_shows_every_run_with_its_health(visit: Any) -> None:
    page = visit.open("/?project=depth")
    page.wait_for_selector("#runs tbody tr")
    levels = page.eval_on_selector_all(
        "#runs tbody tr",
        "rows => Object.fromEntries(rows.map(r => [r.dataset.key, r.querySelector('.mark').dataset.level]))",
    )
    assert levels["hc-0"] == "risk"
    assert levels["hc-1"] == levels["hc-2"] == "dead"
    assert levels["mhc-1"] == levels["mhc-2"] == "safe"


def test_the_list_is_searched_and_the_address_carries_the_search(visit: Any) -> None:
    page = visit.open("/?project=depth")
    page.wait_for_selector('[data-key="hc-0"]')
    page.fill("[name=q]", "connection=mhc")
    page.wait_for_function("() => !document.querySelector('[data-key=\"hc-0\"]')")
    assert page.query_selector('[data-key="mhc-0"]')
    assert "q=connection%3Dmhc" in page.url
    page.fill("[name=q]", "no such run anywhere")
    page.wait_for_selector("#empty:not([hidden])")
    assert "No run matches" in page.inner_text("#empty")


@pytest.mark.parametrize(
    ("run_id", "level", "words"),
    [
        ("hc-0", "risk", "Layer 0 moves most"),
        ("hc-2", "dead", "The loss is NaN since step 200"),
        ("mhc-1", "safe", "No open alerts"),
    ],
)
def test_the_first_lines_say_if_a_run_is_safe(visit: Any, run_id: str, level: str, words: str) -> None:
    page = visit.open(f"/runs/{run_id}")
    page.wait_for_selector(f'#health[data-level="{level}"]')
    assert words in page.inner_text("#health-sentence")


def test_runs_that_nobody_named_are_told_apart_by_their_ids(visit: Any, observatory: Any) -> None:
    for run_id in ("unnamed-1f", "unnamed-2e"):
        observatory.trainer(run_id, "bare", 1, name="run", tags=("\u200b\u2060",)).train(20).end()
    page = visit.open("/?q=unnamed")
    page.wait_for_selector('[data-key="unnamed-2e"]')
    for run_id in ("unnamed-1f", "unnamed-2e"):
        told = page.inner_text(f'[data-key="{run_id}"] .sub')
        assert run_id in told and "(invisible: U+200B U+2060)" in told
    visit.open("/runs/unnamed-1f")
    page.wait_for_selector("#facts .badge")
    assert "unnamed-1f" in page.inner_text("#facts") and "#(invisible: U+200B" in page.inner_text("#facts")
    visit.open("/compare?project=depth&group_by=group")
    page.wait_for_selector('#groups [data-key="bare/unnamed-1f"]')
    assert "unnamed-1f" in page.inner_text('#groups [data-key="bare/unnamed-1f"]')


def test_the_pages_say_that_a_gain_is_a_mean_over_tokens(visit: Any) -> None:
    page = visit.open("/runs/hc-0")
    page.wait_for_selector("#depth:not([hidden])")
    for place in ("#depth", "#vitals", "#health-sentence"):
        assert "mean over tokens" in page.inner_text(place)
    visit.open("/compare")
    assert "mean over tokens" in page.text_content("#groups thead")


@pytest.mark.parametrize("visit", [SMALL], indirect=True)
def test_the_list_is_scanned_on_a_small_screen(visit: Any) -> None:
    page = visit.open("/?q=mhc-")
    page.wait_for_selector('[data-key="mhc-1"]')
    assert page.query_selector('[data-key="mhc-1"]').bounding_box()["height"] < 160


@pytest.mark.parametrize(
    ("run_id", "layers", "num_lost", "words"),
    [
        ("half-seen", True, 70, "No open alerts in what was seen (30 of 100 steps)."),
        ("no-layers", False, 0, "No open alerts in what was seen (no mixing layers measured)."),
        ("half-bare", False, 70, "what was seen (30 of 100 steps; no mixing layers measured)."),
    ],
)
def test_a_run_that_was_not_seen_whole_is_not_called_safe(
    visit: Any, observatory: Any, run_id: str, layers: bool, num_lost: int, words: str
) -> None:
    trainer = observatory.trainer(run_id, "mhc", 5, total=100, layers=layers).train(20)
    if num_lost:
        trainer.lose(num_lost)
    trainer.train(80 - num_lost).end()
    page = visit.open(f"/runs/{run_id}")
    page.wait_for_selector('#health[data-level="partial"]')
    # What is missing is said as soon as it is known, one thing after the other
    page.wait_for_function(
        "words => document.getElementById('health-sentence').innerText.includes(words)", arg=words
    )
    visit.open("/?project=depth")
    page.wait_for_selector(f'[data-key="{run_id}"] .mark[data-level="partial"]')


def wait_until(page: Any, condition: Any) -> None:
    for _ in range(100):
        if condition():
            return
        page.wait_for_timeout(100)
    assert condition()


def test_a_run_grows_on_the_page_without_a_reload_and_keeps_its_zoom(visit: Any, observatory: Any) -> None:
    trainer = observatory.trainer("grows", "mhc", 7).train(60)
    page = visit.open("/runs/grows")
    wait_for_figures(page)
    page.evaluate("window.marker = 'not reloaded'")
    assert drawn(page, "loss")["last"] == 59
    trainer.train(20)
    page.wait_for_function("() => document.querySelector('#vitals dd').textContent.startsWith('79')")
    page.wait_for_function(REACHES % 79)

    drag(page, "loss", 0.25, 0.5)
    page.wait_for_selector("#reset-zoom:not([hidden])")
    found = re.search(r"from=(\d+)&to=(\d+)", page.url)
    assert found is not None
    zoomed = [int(found[1]), int(found[2])]
    assert 15 <= zoomed[0] <= 25 and 35 <= zoomed[1] <= 45
    # The figure snaps from where the drag ended to whole steps, as the address has them
    wait_until(page, lambda: drawn(page, "loss")["range"] == zoomed)
    trainer.train(30)
    page.wait_for_function("() => document.querySelector('#vitals dd').textContent.startsWith('109')")
    page.wait_for_timeout(1200)
    assert drawn(page, "loss")["range"] == zoomed
    assert drawn(page, "loss")["last"] <= zoomed[1]

    page.go_back()
    page.wait_for_selector("#reset-zoom[hidden]", state="attached")
    page.wait_for_function(REACHES % 109)
    assert page.evaluate("window.marker") == "not reloaded"
    assert visit.complaints == []


def test_an_address_with_a_zoom_opens_zoomed(visit: Any) -> None:
    page = visit.open("/runs/hc-0?from=60&to=100&map=stream_rms&log=1")
    wait_for_figures(page)
    assert drawn(page, "loss")["range"] == drawn(page, "composite")["range"] == [60, 100]
    assert drawn(page, "loss")["type"] == "log"
    assert page.input_value("#map-series") == "stream_rms"


def test_an_alert_appears_without_a_reload(visit: Any, observatory: Any) -> None:
    trainer = observatory.trainer("warned", "hc", 3).train(40)
    page = visit.open("/runs/warned")
    page.wait_for_selector('#health[data-level="safe"]')
    page.evaluate("window.marker = 'not reloaded'")
    trainer.train(110)
    page.wait_for_selector('#health[data-level="risk"]')
    page.wait_for_selector("#open-alerts .alert")
    told = page.inner_text("#open-alerts")
    assert "Exit: Amax keeps rising" in told and "What to do" in told
    assert page.evaluate("window.marker") == "not reloaded"


def test_an_alert_is_acknowledged_by_name(visit: Any, observatory: Any) -> None:
    page = visit.open("/alerts?severity=critical")
    alert = observatory.wait_for_alert("hc-1", "exit_amax")
    card = page.wait_for_selector(f'[data-key="hc-1/{alert["alert_id"]}"]')
    card.query_selector("summary").click()
    card.query_selector("[name=author]").fill("Mira <b>")
    card.query_selector("[name=note]").fill("went back to step 80")
    card.query_selector("button").click()
    page.wait_for_selector(".acknowledged")
    assert "Mira <b>" in page.inner_text(".acknowledged")
    stored = observatory.http.get(f"/api/v1/alerts/hc-1/{alert['alert_id']}").json()
    assert stored["acknowledged_by"] == "Mira <b>" and stored["acknowledged_note"] == "went back to step 80"


def test_a_silenced_alert_says_so_and_its_history_is_text(visit: Any, observatory: Any) -> None:
    alert = observatory.wait_for_alert("hc-2", "nonfinite")
    where = f"alerts/hc-2/{alert['alert_id']}"
    note = {"author": "Mira <b>", "note": "<img src=x onerror=alert(1)>"}
    observatory.http.post(f"/api/v1/{where}/acknowledge", json=note)
    said = {
        "matchers": [{"name": "run", "value": "hc-2"}],
        "author": "<i>Noor</i>",
        "comment": "known",
        "duration_seconds": 600,
    }
    silence = observatory.http.post("/api/v1/silences", json=said).json()
    try:
        page = visit.open("/alerts")
        card = page.wait_for_selector(f'[data-key="hc-2/{alert["alert_id"]}"]')
        told = card.inner_text()
        assert "firing, silenced" in told and "Silenced by <i>Noor</i> until " in told
        card.query_selector("details:last-of-type > summary").click()
        page.wait_for_selector(".history li")
        lines = [line.inner_text() for line in card.query_selector_all(".history li")]
        assert any("firing at step" in line for line in lines)
        assert any(line.endswith("seen by Mira <b>: <img src=x onerror=alert(1)>") for line in lines)
        assert visit.complaints == []
    finally:
        observatory.http.delete(f"/api/v1/silences/{silence['silence_id']}")


def test_alerts_are_filtered_and_the_back_button_undoes_it(visit: Any) -> None:
    page = visit.open("/alerts")
    page.wait_for_selector('.alert[data-severity="warning"]')
    page.select_option("[name=severity]", "critical")
    page.wait_for_function("() => !document.querySelector('.alert[data-severity=\"warning\"]')")
    page.go_back()
    page.wait_for_selector('.alert[data-severity="warning"]')


def test_groups_are_compared_with_a_verdict(visit: Any) -> None:
    page = visit.open("/compare?project=depth&group_by=connection")
    wait_for_figures(page)
    names = page.evaluate(
        "document.querySelector('[data-figure=seeds] .js-plotly-plot').data.map((trace) => trace.name)"
    )
    assert any(name.startswith("hc (") for name in names)
    page.wait_for_selector("#verdict:not([hidden])")
    assert page.inner_text("#verdict-word") in ("Restart", "Wait", "Not decided yet")
    assert "stress test" in page.inner_text("#missing")
    # While runs still train there is nothing to test, and the page says what is missing
    assert page.query_selector("#tests tbody tr") or "Variance" in page.inner_text("#missing")
    page.fill("[name=column]", "loss")
    page.keyboard.press("Enter")
    page.wait_for_url("**column=loss**")


def test_the_verdict_is_told_condition_by_condition(visit: Any, observatory: Any) -> None:
    observatory.trainer("stressed", "hc", 7, total=100, tags=["stress"]).train(30).end("crashed")
    page = visit.open("/verdict?project=depth")
    page.wait_for_selector("#verdict:not([hidden])")
    assert page.inner_text("#verdict-word") in ("Restart", "Wait", "Not decided yet")
    assert len(page.query_selector_all("#conditions li")) == 6
    for mark in page.query_selector_all("#conditions .mark"):
        assert mark.get_attribute("aria-label") in ("met", "not met", "missing")
    assert "What to do:" in page.inner_text("#conditions")
    page.wait_for_selector('#stress [data-key="stressed"]')
    assert "In the first 10 %" in page.inner_text("#stress thead")
    assert page.get_attribute('#groups [data-key="mhc/mhc-1"] a', "href") == "/runs/mhc-1"
    page.select_option("[name=group_by]", "connection")
    page.wait_for_url("**group_by=connection**")
    page.select_option("[name=constrained]", "hc")
    page.wait_for_function("() => document.getElementById('verdict-word').innerText === 'Wait'")
    page.go_back()
    page.wait_for_function("() => document.querySelector('[name=constrained]').value === ''")


def test_a_key_that_makes_no_groups_is_said_and_the_figures_stay(visit: Any) -> None:
    page = visit.open("/verdict?project=depth&group_by=seed")
    page.wait_for_selector("#no-runs:not([hidden])")
    assert "differ in their seed" in page.inner_text("#no-runs")
    visit.open("/compare?project=depth&group_by=state")
    wait_for_figures(page)
    page.wait_for_selector("#no-tests:not([hidden])")
    assert "is its outcome" in page.inner_text("#no-tests") and page.query_selector("#verdict[hidden]")


@pytest.mark.parametrize(
    "path", ["/?project=depth", "/runs/hc-2", "/alerts?severity=critical", "/verdict?project=depth"]
)
def test_a_hostile_name_stays_text(visit: Any, path: str) -> None:
    page = visit.open(path)
    page.wait_for_function("() => document.body.innerText.includes('<script>window.hacked')")
    if path.startswith("/runs"):
        wait_for_figures(page)
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") is None
    assert page.query_selector("main img, main script, main a[href^=javascript]") is None
    assert visit.complaints == []


@pytest.mark.parametrize("visit", [SMALL], indirect=True)
@pytest.mark.parametrize("path", EVERY_PAGE)
def test_a_small_screen_never_scrolls_sideways(visit: Any, path: str) -> None:
    page = visit.open(path)
    page.wait_for_timeout(300)
    if path.startswith(("/runs/", "/compare", "/benchmark")):
        wait_for_figures(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize("visit", [DARK], indirect=True)
def test_figures_take_the_colours_of_the_theme_and_follow_its_change(visit: Any) -> None:
    page = visit.open("/runs/hc-0")
    wait_for_figures(page)
    colour = "document.querySelector('[data-figure=loss] .js-plotly-plot').data.at(0).line.color"
    dark = page.evaluate(colour)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"() => {colour} !== {dark!r}")
    assert page.evaluate(colour).startswith("#")


def test_a_run_that_does_not_exist_is_told_with_a_way_out(visit: Any) -> None:
    page = visit.open("/runs/nothing-here")
    page.wait_for_selector(".empty strong")
    assert "No such run" in page.inner_text("main")
    assert page.query_selector('main a[href="/"]')


def test_numbers_stand_beside_a_figure_as_a_table(visit: Any) -> None:
    page = visit.open("/runs/hc-0")
    wait_for_figures(page)
    page.click('[data-figure="loss"] .numbers summary')
    page.wait_for_selector('[data-figure="loss"] tbody tr')
    assert page.inner_text('[data-figure="loss"] thead').split() == ["step", "loss"]


def test_a_paused_page_waits_and_a_resumed_one_catches_up(visit: Any, observatory: Any) -> None:
    trainer = observatory.trainer("paused", "mhc", 8).train(30)
    page = visit.open("/runs/paused")
    wait_for_figures(page)
    page.click("#pause")
    trainer.train(10)
    page.wait_for_timeout(1500)
    assert drawn(page, "loss")["last"] == 29
    page.click("#pause")
    page.wait_for_function(REACHES % 39)


def test_a_collector_that_restarts_is_told_and_the_page_recovers(visit: Any, observatory: Any) -> None:
    trainer = observatory.trainer("outlives", "mhc", 9).train(30)
    page = visit.open("/runs/outlives")
    wait_for_figures(page)
    page.wait_for_selector('#link[data-state="live"]')
    observatory.kill()
    page.wait_for_selector('#link[data-state="down"]')
    assert "retrying" in page.inner_text("#link-text")
    assert drawn(page, "loss")["last"] == 29
    observatory.start()
    page.wait_for_selector('#link[data-state="live"]', timeout=30000)
    page.wait_for_selector("#notice", state="hidden")
    trainer.train(15)
    page.wait_for_function("() => document.querySelector('#vitals dd').textContent.startsWith('44')")

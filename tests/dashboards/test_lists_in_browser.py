"""Lists of runs and alerts, settings and the benchmark in a real browser, on a real collector."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.dashboards.conftest import Visit
from tests.dashboards.observatory import HOSTILE, Observatory

pytestmark = pytest.mark.browser

SMALL = {"viewport": {"width": 400, "height": 800}}
ROOT = "the root token"
# Right-to-left override, an isolate that is never closed, markup, and as long as a name may be
LONG = ("\u202eevil\u2066 <b onclick=alert(1)>" + "x" * 200)[:200]
ROWS = "rows => rows.map(row => row.dataset.key)"
PAINTED = """(key) => {
    const canvas = document.querySelector(`[data-key="${key}"] canvas`);
    return canvas && canvas.dataset.kind ? canvas.dataset.kind : null;
}"""
COLOURS = """(key) => {
    const canvas = document.querySelector(`[data-key="${key}"] canvas`);
    const seen = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    const colours = new Set();
    for (let at = 0; at < seen.length; at += 4) colours.add([...seen.slice(at, at + 4)].join());
    return colours.size;
}"""


def keys(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all("#runs tbody tr", ROWS)
    return found


@pytest.fixture(scope="module")
def many(observatory: Any) -> int:
    """Sixty short runs of a project of their own."""
    for number in range(60):
        run_id = f"many-{number:02}"
        observatory.trainer(run_id, "mhc", number % 7, total=3, layers=False, project="many").train(3).end()
    return 60


def test_runs_are_sorted_by_a_column_and_the_address_says_so(visit: Any) -> None:
    page = visit.open("/?project=depth&q=c-")
    page.wait_for_selector('[data-key="hc-0"]')
    page.click("th[data-sort=gain] button")
    page.wait_for_function("() => document.querySelector('#runs tbody tr').dataset.key === 'hc-2'")
    assert "sort=gain&order=desc" in page.url
    assert page.get_attribute("th[data-sort=gain]", "aria-sort") == "descending"
    page.click("th[data-sort=gain] button")
    page.wait_for_function("() => document.querySelector('#runs tbody tr').dataset.key.startsWith('mhc')")
    page.go_back()
    page.wait_for_function("() => document.querySelector('#runs tbody tr').dataset.key === 'hc-2'")
    assert page.input_value("[name=sort]") == "gain desc"


def test_a_thumbnail_shows_which_runs_move(visit: Any, observatory: Any) -> None:
    observatory.trainer("flat", "mhc", 5, total=100, layers=False).train(100).end()
    page = visit.open("/?project=depth")
    for key, kind in (("hc-0", "layers"), ("mhc-1", "layers"), ("flat", "loss")):
        page.wait_for_selector(f'[data-key="{key}"]').scroll_into_view_if_needed()
        page.wait_for_function(f"(key) => ({PAINTED})(key) === '{kind}'", arg=key)
    assert page.evaluate(COLOURS, "hc-0") >= 4
    assert page.evaluate(COLOURS, "mhc-1") == 1
    assert "layer 0 is farthest from 1" in page.get_attribute('[data-key="hc-0"] canvas', "aria-label")


def test_a_long_list_comes_page_by_page_and_only_what_is_seen_is_drawn(visit: Any, many: int) -> None:
    page = visit.open("/?project=many&sort=name&order=asc")
    page.wait_for_function("() => document.querySelectorAll('#runs tbody tr').length === 50")
    assert page.inner_text("#pager span") == "1 to 50 of 60"
    page.wait_for_function(PAINTED, arg=keys(page)[0])
    asked = [url.count("run=") for url in visit.addresses if "/api/v1/sparks" in url]
    assert 0 < sum(asked) < 50
    page.click("#pager button:last-child")
    page.wait_for_function("() => document.querySelectorAll('#runs tbody tr').length === 10")
    assert "page=2" in page.url
    page.reload()
    page.wait_for_function("() => document.querySelectorAll('#runs tbody tr').length === 10")
    page.fill("[name=q]", "many-00")
    page.wait_for_function("() => document.querySelectorAll('#runs tbody tr').length === 1")
    assert "page=" not in page.url
    visit.open("/?project=many&page=99")
    page.wait_for_function("() => document.querySelectorAll('#runs tbody tr').length === 10")


def test_runs_are_walked_opened_and_chosen_by_keys(visit: Any, many: int) -> None:
    page = visit.open("/?project=many&sort=name&order=asc")
    page.wait_for_selector("#runs tbody tr:nth-child(50)")
    first, second = keys(page)[:2]
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert "next run" in page.inner_text("dialog[open]")
    page.keyboard.press("Escape")
    for key in "jxjxj":
        page.keyboard.press(key)
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.closest('tr').dataset.key") == second
    assert page.inner_text("#selection span") == "2 selected"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{second}")
    assert first != second


def test_chosen_runs_are_compared_and_the_link_carries_them(visit: Any) -> None:
    page = visit.open("/?q=hc-0")
    page.check('[data-key="hc-0"] .choice')
    page.fill("[name=q]", "mhc-1")
    page.wait_for_function("() => document.querySelectorAll('#runs tbody tr').length === 1")
    page.check('[data-key="mhc-1"] .choice')
    page.click("#selection a")
    page.wait_for_selector('#groups [data-key="hc-0/hc-0"]')
    assert len(page.query_selector_all("#groups tbody tr")) == 2
    assert page.query_selector("#verdict[hidden]") and page.query_selector("#tests-card[hidden]")
    assert "group_by=run" in page.url and "column=composite_amax_forward_max" in page.url
    page.fill("[name=column]", "grad_norm")
    page.keyboard.press("Enter")
    page.wait_for_url("**column=grad_norm**")
    page.wait_for_function(
        "() => document.querySelector('[data-figure=seeds] .reading').innerText.includes('hc-0')"
    )
    names = page.eval_on_selector_all("#signals option", "all => all.map(one => one.value)")
    assert "stream_rms" in names and page.query_selector('[data-figure="difference"]:not(template *)')
    assert visit.complaints == []


def test_alerts_are_searched_and_stand_under_their_run(visit: Any, observatory: Any) -> None:
    observatory.wait_for_alert("hc-1", "spike_ahead")
    page = visit.open("/alerts?q=likely")
    page.wait_for_selector("section.of-run article")
    assert {card.get_attribute("data-key").split("/")[0] for card in page.query_selector_all("article")} <= {
        "hc-0",
        "hc-1",
        "hc-2",
    }
    told = page.inner_text('section[data-key="hc-1"] .grounds')
    assert "headroom_bits" in told and "within 100 steps" in told and "in about" in told
    page.fill("[name=q]", "no such words")
    page.wait_for_selector("#empty:not([hidden])")
    page.fill("[name=q]", "")
    page.select_option("[name=rule]", "nonfinite")
    page.wait_for_function(
        "() => [...document.querySelectorAll('article .severity')].every(one => one.innerText[0] === 'N')"
    )
    assert "rule=nonfinite" in page.url
    page.click('section[data-key="hc-1"] details.picture > summary')
    page.wait_for_function("() => document.querySelector('.snapshot img')?.naturalWidth > 100")
    assert visit.complaints == []


def test_an_alert_is_silenced_and_the_silence_ended(visit: Any, observatory: Any) -> None:
    alert = observatory.wait_for_alert("hc-2", "exit_amax")
    page = visit.open("/alerts?rule=exit_amax&run=hc-2")
    card = f'[data-key="hc-2/{alert["alert_id"]}"]'
    page.click(f"{card} details.silence > summary")
    assert page.input_value(f"{card} [name=matchers]") == "run=hc-2\nrule=exit_amax"
    page.fill(f"{card} [name=matchers]", "run is hc-2")
    page.fill(f"{card} .silence [name=author]", "Noor <i>")
    page.fill(f"{card} [name=comment]", HOSTILE)
    page.click(f"{card} .silence button")
    page.wait_for_selector(f"{card} .silence .error:not([hidden])")
    assert "is no matcher" in page.inner_text(f"{card} .silence .error")
    page.fill(f"{card} [name=matchers]", "run=hc-2\nrule=~exit_.*")
    page.select_option(f"{card} [name=duration]", "14400")
    page.click(f"{card} .silence button")
    page.wait_for_function(f"() => document.querySelector('{card}').innerText.includes('firing, silenced')")
    page.click("#silences > summary")
    told = page.inner_text("#silence-rows tr")
    assert "run=hc-2, rule=~exit_.*" in told and HOSTILE in told and "4.0 h left" in told
    page.click("#silence-rows button")
    page.wait_for_function(f"() => !document.querySelector('{card}').innerText.includes('silenced')")
    page.wait_for_function("() => document.querySelector('#silence-rows tr').innerText.includes('expired')")
    assert observatory.http.get("/api/v1/silences").json()["silences"][0]["state"] == "expired"
    assert visit.complaints == [] and page.evaluate("window.hacked") is None


def test_settings_make_a_token_once_and_revoke_it(visit: Any, observatory: Any) -> None:
    page = visit.open("/settings")
    page.wait_for_selector("#make-token form")
    page.fill("#make-token [name=name]", HOSTILE)
    page.uncheck("#make-token [value=read]")
    page.click("#make-token button")
    page.wait_for_selector("#make-token .error:not([hidden])")
    assert "choose a scope" in page.inner_text("#make-token .error")
    page.check("#make-token [value=ingest]")
    page.select_option("#make-token [name=project]", "depth")
    page.click("#make-token button")
    secret = page.wait_for_selector("#new-token input").input_value()
    assert secret.startswith("fsk_")
    row = page.wait_for_selector("#tokens tbody tr")
    assert HOSTILE in row.inner_text() and "project depth" in row.inner_text()
    page.click("#new-token button:last-child")
    assert secret not in page.content()
    page.reload()
    page.wait_for_selector("#tokens tbody tr")
    assert secret not in page.content()
    page.click("#tokens button")
    page.wait_for_function("() => document.querySelector('#tokens tbody tr').innerText.includes('revoked')")
    assert observatory.http.get("/api/v1/tokens").json()["tokens"][0]["state"] == "revoked"
    assert visit.complaints == []


def test_settings_try_a_notifier_keep_a_project_and_pin_a_run(visit: Any, observatory: Any) -> None:
    page = visit.open("/settings")
    page.click("#notifiers [data-key=log] button")
    page.wait_for_function("() => document.querySelector('#notifiers').innerText.includes('✓ taken in')")
    row = '#projects [data-key="depth"]'
    page.fill(f"{row} [name=days]", "90")
    page.fill(f"{row} [name=gigabytes]", "2.5")
    with page.expect_response("**/projects/depth"):
        page.click(f"{row} button")
    (kept,) = [
        one
        for one in observatory.http.get("/api/v1/projects").json()["projects"]
        if one["project"] == "depth"
    ]
    assert (kept["keep_days"], kept["keep_bytes"]) == (90, 2_500_000_000)
    page.fill("#pin-run [name=run]", "nobody")
    page.click("#pin-run button")
    page.wait_for_selector("#pin-run .error:not([hidden])")
    assert "there is no run" in page.inner_text("#pin-run .error")
    page.fill("#pin-run [name=run]", "hc-2")
    page.click("#pin-run button")
    page.wait_for_selector("#pinned [data-key=hc-2]")
    assert HOSTILE in page.inner_text("#pinned")
    page.click("#pinned button")
    page.wait_for_selector("#no-pinned:not([hidden])")
    assert "Exit: Amax keeps rising" in page.inner_text("#rules")
    assert "SQLite" in page.inner_text("#facts") and "agrees with this browser" in page.inner_text("#facts")
    observatory.http.put("/api/v1/projects/depth", json={"keep_days": None}).raise_for_status()


@pytest.fixture(scope="module")
def locked(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A collector that asks for tokens, with one run and one token that reads project "depth" only."""
    locked = Observatory(tmp_path_factory.mktemp("locked"), FORESHOCK_TOKEN=ROOT)
    locked.http.headers["Authorization"] = f"Bearer {ROOT}"
    locked.trainer("hc-0", "hc", 0).train(140)
    locked.wait_for_alert("hc-0", "exit_amax")
    made = locked.http.post("/api/v1/tokens", json={"name": "eyes", "scopes": ["read"], "project": "depth"})
    yield locked, made.json()["token"]
    locked.close()


def test_what_a_token_does_not_open_is_told_and_does_not_fail(chromium: Any, locked: Any) -> None:
    collector, secret = locked
    context = chromium.new_context()
    visit = Visit(context.new_page(), collector.url)
    page = visit.open("/settings")
    page.fill("[name=token]", secret)
    page.click("button.primary")
    page.wait_for_selector("#tokens-closed:not([hidden])")
    assert "scope read in project depth" in page.inner_text("#tokens-closed")
    assert "needs the scope admin" in page.inner_text("#tokens-closed")
    for closed in ("notifiers", "rules"):
        page.wait_for_selector(f"#{closed}-closed:not([hidden])")
        assert "all projects" in page.inner_text(f"#{closed}-closed")
    page.wait_for_selector('#projects [data-key="depth"]')
    assert "everything, for ever" in page.inner_text("#projects") and page.query_selector(
        "#make-token[hidden]"
    )
    assert page.query_selector("#notice[hidden]")
    visit.open("/alerts?rule=exit_amax")
    page.click("article details.silence > summary")
    page.wait_for_selector("article .silence p")
    assert "needs the scope admin" in page.inner_text("article .silence p")
    # Chromium notes each refusal on the console by itself
    assert all("403" in said for said in visit.complaints) and visit.foreign() == []
    context.close()


def test_the_benchmark_says_what_is_met_and_what_is_missed(visit: Any, observatory: Any) -> None:
    page = visit.open("/benchmark")
    page.wait_for_selector("#targets tbody tr")
    told = observatory.http.get("/api/v1/benchmark").json()["shown"]
    rows = page.query_selector_all("#targets tbody tr")
    assert [row.query_selector(".state").inner_text().split(maxsplit=1)[1] for row in rows] == list(
        told["states"].values()
    )
    assert page.inner_text("#verdict-sentence") == told["verdict"]
    assert len(page.query_selector_all("#watchers tbody tr")) == len(told["score"]["watchers"])
    for name in ("lead", "froc", "molchan", "reliability"):
        page.query_selector(f'[data-figure="{name}"]').scroll_into_view_if_needed()
        page.wait_for_selector(f'[data-figure="{name}"] .js-plotly-plot')
    page.goto(f"{observatory.url}/benchmark?evaluation=none")
    page.wait_for_selector("#notice:not([hidden])")
    assert "No such evaluation" in page.inner_text("#notice")


@pytest.fixture(scope="module")
def hostile(observatory: Any) -> str:
    """A project, a run, a group, a tag and a configuration that nobody means well by."""
    said = {
        "run_id": "hostile",
        "project": LONG,
        "name": LONG,
        "group": LONG,
        "tags": [LONG[:100]],
        "config": {LONG: LONG},
    }
    observatory.http.post("/api/v1/runs", json=said).raise_for_status()
    observatory.trainer("hostile-dead", "hc", 2, dies_at=20, name=LONG, project=LONG).train(30)
    observatory.wait_for_alert("hostile-dead", "nonfinite")
    return "hostile"


@pytest.mark.parametrize("visit", [SMALL], indirect=True)
@pytest.mark.parametrize("path", ["/?q=hostile", "/settings", "/compare?runs=hostile%2Chc-2", "/alerts"])
def test_a_hostile_name_neither_runs_nor_breaks_a_small_screen(visit: Any, path: str, hostile: str) -> None:
    page = visit.open(path)
    page.wait_for_function("() => document.body.innerText.includes('<b onclick=alert(1)>')")
    page.wait_for_timeout(400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.query_selector("main b[onclick]") is None and visit.complaints == []


def test_a_list_that_is_left_open_does_not_grow_and_comes_back_by_itself(
    visit: Any, observatory: Any
) -> None:
    trainer = observatory.trainer("stays", "mhc", 4).train(60)
    page = visit.open("/?q=stays")
    cell = '[data-key="stays"] [data-label="Step"]'
    page.wait_for_selector(cell)
    page.focus('[data-key="stays"] a')
    page.wait_for_function(PAINTED, arg="stays")
    page.wait_for_function(
        """() => document.querySelector('[data-key="stays"]').innerText.includes('moves most')"""
    )
    before = page.evaluate("document.querySelectorAll('*').length")
    for _ in range(4):
        trainer.train(10)
        page.wait_for_timeout(1100)
    page.wait_for_function(f"() => document.querySelector('{cell}').textContent.startsWith('99')")
    assert page.evaluate("document.querySelectorAll('*').length") == before
    assert page.evaluate("document.activeElement.closest('tr').dataset.key") == "stays"
    observatory.kill()
    page.wait_for_selector('#link[data-state="down"]')
    observatory.start()
    page.wait_for_selector('#link[data-state="live"]', timeout=30000)
    trainer.train(10)
    page.wait_for_function(f"() => document.querySelector('{cell}').textContent.startsWith('109')")


def test_a_comparison_without_runs_and_a_list_without_any_say_what_to_do(visit: Any) -> None:
    page = visit.open("/compare?runs=gone-1,gone-2")
    page.wait_for_selector("#no-runs:not([hidden])")
    assert "No runs to compare" in page.inner_text("#no-runs")
    assert all("404" in json.dumps(said) for said in visit.complaints)

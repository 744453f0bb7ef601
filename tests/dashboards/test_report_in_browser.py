"""A report opened from disk in a real browser: it draws, says no word of complaint, and asks nobody."""

from pathlib import Path
from typing import Any

import pytest

from foreshock.dashboards.report import report, write_html

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 400)])
def test_a_report_opens_from_disk(
    chromium: Any, observatory: Any, tmp_path: Path, scheme: str, width: int
) -> None:
    file = tmp_path / "report.html"
    file.write_text("".join(write_html(report("hc-2", "mhc-1", url=observatory.url))), encoding="utf-8")
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector(".js-plotly-plot .main-svg")
    assert "Diverged at step 200" in page.inner_text("#run-0 .word")
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    ink = page.evaluate("getComputedStyle(document.querySelector('.js-plotly-plot .xtick text')).fill")
    assert ink == {"light": "rgb(90, 100, 115)", "dark": "rgb(155, 165, 180)"}[scheme]
    # On paper every figure is there, in the colours of paper
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function(
        "document.querySelectorAll('.plot').length === document.querySelectorAll('.js-plotly-plot').length"
    )
    # Those that were drawn for the screen before too: none reaches beyond its place
    beyond = """() => [...document.querySelectorAll('.plot')].filter((place) => {
        const {width, height} = place.querySelector('.main-svg').getBoundingClientRect();
        return height > place.getBoundingClientRect().height + 1 || width > 450;
    }).map((place) => place.id)"""
    assert page.evaluate(beyond) == []
    assert (
        page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()")
        == "#171b24"
    )
    assert complaints == []
    assert [one for one in asked if not one.startswith(("file:", "data:", "blob:"))] == []
    context.close()


def test_the_run_page_offers_its_report(visit: Any) -> None:
    page = visit.open("/runs/hc-0")
    page.wait_for_selector('#health[data-level="risk"]')
    with page.expect_download() as told:
        page.click("#report")
    assert told.value.suggested_filename == "foreshock-hc-0.html"
    assert "At risk since step" in Path(told.value.path()).read_text(encoding="utf-8")
    visit.open("/compare?project=depth&group_by=group")
    page.wait_for_selector("#report:not([hidden])")
    assert page.get_attribute("#report", "href").startswith("/compare/report?run=")

"""`python -m tests.dashboards.contact_sheet FOLDER`: every figure, drawn in Chromium, light and dark.

One page of PNG for each family and theme, to be looked at.
"""

import json
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from tests.dashboards.every_signal import every_signal
from tests.dashboards.picture import ARGUMENTS, CHROMIUM

from foreshock.dashboards.figures import FAMILIES, RUN_FIGURES, Figure, Theme, colours, resolve
from foreshock.dashboards.pages import plotly_bundle
from foreshock.wire.readings import Window

SETTLE_MS = 900
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ background: {surface}; color: {ink}; font: 13px system-ui; margin: 12px; display: grid;
grid-template-columns: 1fr 1fr; gap: 18px }} h2 {{ font-size: 14px; margin: 0 }} p {{ margin: 2px 0 }}
</style><body></body>"""
DRAW = """(figures) => figures.forEach((figure) => {
  const card = document.createElement("div"), plot = document.createElement("div");
  const title = document.createElement("h2"), reading = document.createElement("p");
  title.textContent = figure.layout.meta.title; reading.textContent = figure.layout.meta.reading;
  plot.style.height = (figure.layout.height || 270) + "px";
  card.append(title, reading, plot); document.body.append(card);
  Plotly.newPlot(plot, figure.data, figure.layout, {displayModeBar: false, responsive: true});
})"""


def photograph(browser: Browser, figures: list[Figure], theme: Theme, out: Path) -> None:
    """Draws the figures side by side and writes a PNG."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.set_content(PAGE.format(surface=colours(theme)["surface"], ink=colours(theme)["ink"]))
    page.add_script_tag(content=plotly_bundle().read_text())
    page.evaluate(DRAW, json.loads(json.dumps([resolve(one, theme) for one in figures], allow_nan=False)))
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=out, full_page=True)
    page.close()
    if failures:
        raise RuntimeError(f"{out.name}: {failures[0]}")


def sheets(folder: Path, **options: Any) -> None:
    """One PNG for each family and theme."""
    folder.mkdir(parents=True, exist_ok=True)
    run = every_signal()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        for family in FAMILIES:
            figures = [
                figure(run, Window(), **{name: options[name] for name in figure.options if name in options})
                for figure in RUN_FIGURES.values()
                if figure.family == family
            ]
            themes: tuple[Theme, ...] = ("light", "dark")
            for theme in themes:
                photograph(browser, figures, theme, folder / f"{family}-{theme}.png")
        browser.close()


if __name__ == "__main__":
    sheets(Path(sys.argv[1]), **json.loads(sys.argv[2] if len(sys.argv) > 2 else "{}"))

"""`python -m tests.dashboards.album FOLDER [WORD...]`: every page, photographed from top to bottom.

At 400, 1440 and 3840 px, light and dark, over a real collector with synthetic runs. Words choose: a picture
is taken where its name (`run-gains-1440-dark`) has them all.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright
from rich.progress import track
from tests.dashboards.every_signal import every_column
from tests.dashboards.observatory import Observatory, append, populate
from tests.dashboards.picture import ARGUMENTS, CHROMIUM

from foreshock.dashboards.figures import FAMILIES
from foreshock.wire import Layout, Record, make_batch

PAGES = {
    "runs": "/",
    **{f"run-{tab}": f"/runs/every?tab={tab}" for tab in ("overview", *FAMILIES)},
    "run-dead": "/runs/hc-2",
    "run-safe": "/runs/mhc-1",
    "layer": "/runs/every/layers/0",
    "compare": "/compare?project=depth&group_by=connection",
    "alerts": "/alerts",
    "verdict": "/verdict?project=depth",
    "benchmark": "/benchmark",
    "settings": "/settings",
    "login": "/login",
    "missing": "/nothing/here",
}
WIDTHS = {400: 800, 1440: 900, 3840: 2160}
SCHEMES = ("light", "dark")
SETTLE_MS = 600
MAX_HEIGHT = 12000
SETTLED = """() => [...document.querySelectorAll('[data-figure]')].every(
    (card) => !card.hasAttribute('data-busy') && !card.querySelector('.plot-note:not([hidden])'))"""


def ship(observatory: Observatory, run_id: str) -> None:
    """Sends a run that tells every signal, as a probe would."""
    declaration = {
        "run_id": run_id,
        "project": "every signal",
        "name": "every signal, 16 blocks",
        "group": "mhc",
        "seed": 0,
        "tags": ["sweep"],
        "config": {"connection": "mhc", "num_streams": 4, "precision": "bf16", "learning_rate": 3e-3},
        "constraint": "doubly_stochastic",
        "total_steps": 1000,
        "session": run_id,
        "started_at": time.time() - 400,
    }
    observatory.http.post("/api/v1/runs", json=declaration).raise_for_status()
    streams: dict[int, dict[str, Any]] = {}
    for name, (steps, values) in every_column(800, 16).items():
        streams.setdefault(len(steps), {"steps": steps})[name] = values
    records: list[Record] = []
    for number, columns in enumerate(streams.values()):
        steps = columns.pop("steps")
        records.append(
            Layout(len(records), number, "step" if len(steps) == 800 else f"slow {number}", tuple(columns))
        )
        values = np.stack(list(columns.values()), axis=1).astype(np.float32)
        records.append(make_batch(len(records), number, steps, time.time() - 400 + 0.5 * steps, values))
    for at in range(0, len(records), 2):
        append(observatory.http, run_id, *records[at : at + 2])
    observatory.http.post(
        f"/api/v1/runs/{run_id}/notes", json={"step": 310, "author": "Mira", "text": "Raised the batch size."}
    ).raise_for_status()


def photograph(browser: Browser, address: str, out: Path, *, width: int, scheme: Any) -> list[str]:
    """Draws the whole page, writes it as a PNG, and says what the console said."""
    page = browser.new_page(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    page.wait_for_timeout(SETTLE_MS)
    _unroll(page)
    page.screenshot(path=out, full_page=True)
    page.close()
    return said


def _unroll(page: Page) -> None:
    """Figures are drawn where they are seen: the screen becomes as tall as the page."""
    width = page.viewport_size["width"] if page.viewport_size else 1440
    for _ in range(2):
        height = page.evaluate("document.getElementById('main').getBoundingClientRect().bottom + scrollY")
        page.set_viewport_size({"width": width, "height": min(MAX_HEIGHT, int(height))})
        page.wait_for_timeout(SETTLE_MS)
    page.wait_for_function(SETTLED)


def main(folder: Path, words: list[str]) -> None:
    """Starts the collector, fills it, and takes the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [(name, width, scheme) for name in PAGES for width in WIDTHS for scheme in SCHEMES]
    wanted = [one for one in names if all(word in "-".join(map(str, one)) for word in words)]
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        observatory = Observatory(Path(directory))
        try:
            populate(observatory)
            ship(observatory, "every")
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            for name, width, scheme in track(wanted, "photographing"):
                out = folder / f"{name}-{width}-{scheme}.png"
                for line in photograph(
                    browser, observatory.url + PAGES[name], out, width=width, scheme=scheme
                ):
                    print(f"{out.name}: {line}", file=sys.stderr)
        finally:
            observatory.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

"""Photographs what people see first of each recorded run, under names that tell nothing.

    python -m tests.dashboards.first_screens OUT

OUT gets run-a.png to run-f.png, 1440 by 900 pixels, light; which run is which is printed, as JSON, and left
out of the folder, so that it can be handed to readers as it is.
"""

import json
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from tests.dashboards.observatory import Observatory
from tests.dashboards.picture import ARGUMENTS, CHROMIUM
from tests.dashboards.recorded_run import RecordedRun, recorded_runs

VIEWPORT = (1440, 900)
# What the page's head shows of a configuration and what would give the answer away
TELLING = ("connection", "precision", "num_streams", "learning_rate")
SETTLE_MS = 2500


def photograph_all(out: Path) -> dict[str, str]:
    """Writes the pictures; gives the recorded run behind each neutral name."""
    out.mkdir(parents=True, exist_ok=True)
    # By a digest, so that neighbours in the alphabet or in the README tell nothing
    runs = sorted(recorded_runs(), key=lambda run: run.manifest["sha256"])
    key: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        observatory = Observatory(Path(directory))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            for letter, run in zip("abcdef", runs, strict=True):
                name = f"run-{letter}"
                key[name] = run.name
                run.play(observatory, name, **neutral(run, name))
                _photograph(browser, f"{observatory.url}/runs/{name}", out / f"{name}.png")
        finally:
            browser.close()
            observatory.close()
    return key


def neutral(run: RecordedRun, name: str) -> dict[str, object]:
    """What the run declares of itself, without what names its fate."""
    config = run.manifest["declaration"]["config"]
    kept = {key: value for key, value in config.items() if key not in TELLING}
    return {"project": "screens", "name": name, "group": None, "seed": None, "config": kept}


def _photograph(browser: Browser, url: str, out: Path) -> None:
    width, height = VIEWPORT
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
    page.goto(url)
    page.locator("#figures .js-plotly-plot").first.wait_for(timeout=60000)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=out)
    page.close()


if __name__ == "__main__":
    print(json.dumps(photograph_all(Path(sys.argv[1])), indent=1))

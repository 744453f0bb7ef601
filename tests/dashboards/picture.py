"""`make picture URL=.. OUT=..`: photographs a page in headless Chromium; the README's picture is one."""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
)
SETTLE_MS = 4000


def photograph(url: str, out: Path, *, width: int = 1440, height: int = 1300, scheme: str = "dark") -> None:
    """Waits until the figures stand, then writes a PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
        page.goto(url)
        page.wait_for_timeout(SETTLE_MS)
        page.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    photograph(sys.argv[1], Path(sys.argv[2]))

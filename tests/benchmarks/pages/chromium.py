"""Headless Chromium as a person's browser: what it drew and when, what it fetched, worked and held."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import BrowserContext, CDPSession, Page, sync_playwright

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZE: Final = {"width": 1440, "height": 900}
# Chromium has work of its own after its start
SETTLE_MS: Final = 3000
# Notes when each of some things is there, at the end of the frame that shows it. It only looks when the
# page changes: a loop of frames would cost more than most pages.
_WATCH: Final = """(() => {
    const wanted = %s, seen = new Set();
    window.__seen = {};
    const look = () => {
        for (const [name, [selector, words]] of Object.entries(wanted)) {
            const found = !seen.has(name) && document.querySelector(selector);
            if (!found || (words && !found.textContent.trim())) continue;
            seen.add(name);
            requestAnimationFrame(() => setTimeout(() => { window.__seen[name] = performance.now(); }));
        }
    };
    new MutationObserver(look).observe(document, {
        childList: true, subtree: true, characterData: true, attributes: true,
    });
})()"""
Wanted = dict[str, tuple[str, bool]]


@contextmanager
def chromium(profile: Path) -> Iterator[BrowserContext]:
    """A browser with a profile of its own, kept on disk as a person's is; rested from its start."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=list(ARGUMENTS), viewport=SIZE
        )
        context.set_default_timeout(120_000)
        context.pages[0].wait_for_timeout(SETTLE_MS)
        yield context
        context.close()


class Tab:
    """One page, with the counters that Chromium's own tools show."""

    def __init__(self, context: BrowserContext, script: str = "") -> None:
        self.page: Page = context.new_page()
        if script:
            self.page.add_init_script(script)
        self._tools: CDPSession = context.new_cdp_session(self.page)
        self._tools.send("Performance.enable", {"timeDomain": "threadTicks"})
        self._tools.send("Network.enable")
        self._tools.on("Network.dataReceived", self._received)
        self._tools.on("Network.responseReceived", self._answered)
        self.num_bytes = 0
        self.num_requests = 0

    def _received(self, event: dict[str, Any]) -> None:
        self.num_bytes += event["encodedDataLength"]

    def _answered(self, event: dict[str, Any]) -> None:
        # What came before the body: the status line and the headers
        self.num_bytes += event["response"]["encodedDataLength"]
        self.num_requests += 1

    def open_and_see(self, url: str, wanted: Wanted) -> dict[str, float]:
        """Milliseconds from the start of the navigation until each of the wanted things was drawn."""
        self.page.add_init_script(_WATCH % json.dumps(wanted))
        self.page.goto(url)
        return self.seen(len(wanted))

    def seen(self, many: int) -> dict[str, float]:
        """When each of so many things was drawn, on the page's own clock; waits for the last of them."""
        self.page.wait_for_function("(many) => Object.keys(window.__seen).length >= many", arg=many)
        found: dict[str, float] = self.page.evaluate("window.__seen")
        return found

    def work_seconds(self) -> float:
        """Processor time of the page's main thread so far."""
        return self._metrics()["TaskDuration"]

    def heap_bytes(self) -> float:
        """What the page's scripts hold, once everything that nobody needs is gone."""
        for _ in range(3):
            self._tools.send("HeapProfiler.collectGarbage")
        return self._metrics()["JSHeapUsedSize"]

    def _metrics(self) -> dict[str, float]:
        return {one["name"]: one["value"] for one in self._tools.send("Performance.getMetrics")["metrics"]}

    def close(self) -> None:
        """Closes the page."""
        self.page.close()

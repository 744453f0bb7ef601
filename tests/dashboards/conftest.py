"""A real collector with runs in it, and a real browser that looks at it."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import require

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's Chromium; tests that need it skip without it, and fail where it is promised."""
    require(CHROMIUM is not None, "Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def observatory(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A collector with two groups of three seeds; tests add runs of their own to change."""
    pytest.importorskip("foreshock.server.serving", reason="the pages are driven against the real collector")
    from tests.dashboards.observatory import Observatory, populate

    observatory = Observatory(tmp_path_factory.mktemp("collector"))
    populate(observatory)
    yield observatory
    observatory.close()


class Visit:
    """One open page, with everything that went wrong on it."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        self.addresses: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.addresses.append(request.url))

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(self, path: str) -> Any:
        """Goes to a path of the collector."""
        self.page.goto(self.url + path)
        return self.page

    def foreign(self) -> list[str]:
        """Requests that left the collector."""
        return [one for one in self.addresses if not one.startswith((self.url, "data:", "blob:"))]


@pytest.fixture
def visit(chromium: Any, observatory: Any, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A fresh visitor; `@pytest.mark.parametrize("visit", [{...}], indirect=True)` sets screen and theme."""
    options = {"viewport": {"width": 1440, "height": 900}, **getattr(request, "param", {})}
    context = chromium.new_context(**options)
    # A busy machine is slow, not wrong
    context.set_default_timeout(60_000)
    yield Visit(context.new_page(), observatory.url)
    context.close()

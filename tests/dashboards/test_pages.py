"""Pages as files: what the content security policy forbids is not in them."""

import re

import pytest

from foreshock.dashboards.errors import UnknownPageError
from foreshock.dashboards.pages import PAGES, STATIC_DIR, plotly_bundle, render

MODULES = sorted(STATIC_DIR.glob("*.js"))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_script_of_its_own_and_names_no_other_host(page: str) -> None:
    html = render(page)
    for script in re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL):
        assert script.strip() == ""
    assert not re.search(r"\son\w+=", html)
    assert not re.search(r"(src|href|action)=\"(https?:)?//", html)


@pytest.mark.parametrize("page", PAGES)
def test_every_file_a_page_names_exists(page: str) -> None:
    for name in re.findall(r"/static/(?:v-\w+/)?([\w.-]+)", render(page)):
        assert name == "plotly.min.js" or (STATIC_DIR / name).is_file()


def test_the_login_page_escapes_what_it_is_given() -> None:
    html = render("login", error="<script>x</script>", next='/runs/"><b>')
    assert "<script>x" not in html and "&lt;script&gt;x" in html
    assert '"><b>' not in html


def test_an_unknown_page_is_named_with_those_there_are() -> None:
    with pytest.raises(UnknownPageError, match="runs, run, layer, compare"):
        render("nowhere")


def test_the_bundle_is_the_installed_plotly() -> None:
    assert plotly_bundle().name == "plotly.min.js"
    assert plotly_bundle().stat().st_size > 1_000_000


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_modules_write_data_as_text_only(module: object) -> None:
    text = module.read_text()  # type: ignore[attr-defined]
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
    ):
        assert forbidden not in text
    assert not re.search(r"from \"(?!\./)", text), "modules import only their neighbours"

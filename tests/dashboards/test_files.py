"""Addresses of a page's files: they change with the files, and name all that a page will want."""

import re
import shutil
from pathlib import Path

import pytest

from foreshock.dashboards.pages import STATIC_DIR, files, render


def test_a_page_names_every_module_that_it_will_import() -> None:
    named = set(re.findall(r'rel="modulepreload" href="/static/[\w-]+/([\w.-]+)"', render("run")))
    assert "run.js" in named and "patch.js" in named
    for module in named:
        imported = re.findall(r'from "\./([\w.-]+)"', (STATIC_DIR / module).read_text())
        assert named >= set(imported)
    assert "modulepreload" not in render("missing")


def test_addresses_change_with_the_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copied = tmp_path / "static"
    shutil.copytree(STATIC_DIR, copied)
    monkeypatch.setattr(files, "STATIC_DIR", copied)
    before = files.version()
    assert f"/static/{before}/style.css" in render("runs")
    (copied / "style.css").write_text("body { color: red }")
    assert files.version() != before
    assert f"/static/{files.version()}/style.css" in render("runs")


def test_plotly_keeps_the_address_of_its_own_version() -> None:
    assert 'src="/static/plotly.min.js?v=' in render("run")

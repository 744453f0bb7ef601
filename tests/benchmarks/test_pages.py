"""The benchmark of the pages runs, tried with next to nothing."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.conftest import require

pytestmark = pytest.mark.browser


def test_the_pages_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("playwright", reason="the pages are measured in a browser")
    from tests.benchmarks.pages import chromium, measure, page, peers
    from tests.benchmarks.pages.sizes import SMOKE

    require(chromium.CHROMIUM is not None, "Chromium")
    monkeypatch.delenv(peers.PYTHON, raising=False)
    monkeypatch.setattr(chromium, "SETTLE_MS", 0)
    # Playwright takes one loop a thread, and the browser that other tests share may hold this one's
    with ThreadPoolExecutor(1) as own:
        found = own.submit(measure, SMOKE).result()
    live = found["ours"]["live"]
    assert live["bytes_a_minute"] > 0 and live["heap_mib_after"] > 1
    for name in ("first_useful_paint_cold_ms", "first_useful_paint_warm_ms", "zoom_to_detail_ms"):
        assert found["ours"][name]["median"] > 0
    machine = {"date": "2026-01-01", "commit": "0000000", "cores": 2, "cpu": "any"}
    told = page({"machine": machine} | found)
    assert "first useful paint, cold" in told and peers.PYTHON in told

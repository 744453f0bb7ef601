"""The collector's own pages in a real browser: paints, live updates, zooms, what the page holds."""

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import BrowserContext
from tests.benchmarks.pages.chromium import Tab, Wanted, chromium
from tests.benchmarks.pages.long_run import STEP_SECONDS, LongRun
from tests.benchmarks.pages.sizes import Sizes
from tests.benchmarks.served import Connection, Served, bodies, serve
from tests.benchmarks.store import wait_until_compacted

# What tells whether a run is safe, which layer moves, and since when
FIRST_USEFUL: Final[Wanted] = {
    "health": ("#health-sentence", True),
    "loss": ('[data-figure="loss"] .main-svg .trace path', False),
    "composite": ('[data-figure="composite"] .main-svg .trace path', False),
    "map": ('[data-figure="gain_map"] .hm image', False),
}
LISTED: Final[Wanted] = {"runs": ("#runs tbody tr", True)}
FASTER: Final = 10
# The page believes that so many seconds have passed, and so updates that much more often
_FAST_CLOCK: Final = """(() => {
    const now = performance.now.bind(performance), later = window.setTimeout.bind(window);
    performance.now = () => %d * now();
    window.setTimeout = (work, wait, ...more) => later(work, (wait ?? 0) / %d, ...more);
})()""".replace("%d", str(FASTER))
_ZOOM: Final = """() => {
    window.__zoomed = {};
    const busy = () => document.querySelectorAll("[data-figure][data-busy]").length;
    addEventListener("mouseup", () => { window.__zoomed.begun = performance.now(); }, true);
    new MutationObserver(() => {
        if (window.__zoomed.begun && !busy()) requestAnimationFrame(() => setTimeout(() => {
            window.__zoomed.done = performance.now();
        }));
    }).observe(document.getElementById("figures"), { subtree: true, attributeFilter: ["data-busy"] });
}"""


def measure(sizes: Sizes) -> dict[str, Any]:
    """Everything about a long run, then the list of many."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "long.db"
        started_at = time.time() - STEP_SECONDS * sizes.num_steps
        run = _stored(database, started_at, sizes)
        cold = [_cold(database) for _ in range(sizes.num_tries)]
        with chromium(Path(folder) / "profile") as context:
            with serve(database) as served:
                found = {
                    "first_useful_paint_cold_ms": _middle(cold),
                    "first_useful_paint_warm_ms": _middle(_warm(context, served, sizes)),
                    "zoom_to_detail_ms": _middle(_zooms(context, served, sizes)),
                    "live": _live(context, served, run, started_at, sizes),
                }
            with serve(Path(folder) / "many.db") as served:
                return found | {"list_of_runs_ms": _middle(_lists(context, served, sizes))}


def _stored(database: Path, started_at: float, sizes: Sizes) -> LongRun:
    """The long run, sent as a probe sends it, judged and compacted."""
    run = LongRun("long", sizes.num_layers, sizes.num_signals)
    with serve(database) as served, Connection(served.host) as connection:
        run.declare(connection, 2 * sizes.num_steps, started_at)
        run.send(connection, sizes.num_steps, started_at)
        if sizes.num_steps > 2000:
            wait_until_compacted(database, sizes.num_steps - 1100, "long")
    return run


def _middle(tries: list[float]) -> dict[str, Any]:
    return {"median": round(statistics.median(tries)), "tries": [round(one) for one in tries]}


def _last(seen: dict[str, float]) -> float:
    return max(seen.values())


def _cold(database: Path) -> float:
    """A collector that has just started, a browser that was never here."""
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as context, serve(database) as new:
        return _last(Tab(context).open_and_see(f"http://{new.host}/runs/long", FIRST_USEFUL))


def _warm(context: BrowserContext, served: Served, sizes: Sizes) -> list[float]:
    """Someone who comes back to a collector that works."""

    def visit() -> float:
        tab = Tab(context)
        seen = tab.open_and_see(f"http://{served.host}/runs/long", FIRST_USEFUL)
        # A compiled script is put away after its page has come to rest
        tab.page.wait_for_timeout(sizes.rest_ms)
        tab.close()
        return _last(seen)

    before = sizes.num_visits_before_warm
    return [visit() for _ in range(before + sizes.num_tries)][before:]


def _zooms(context: BrowserContext, served: Served, sizes: Sizes) -> list[float]:
    """From the end of a drag over a tenth of the run until every figure in sight shows it in detail."""
    times = []
    for number in range(sizes.num_tries):
        tab = Tab(context)
        tab.open_and_see(f"http://{served.host}/runs/long", FIRST_USEFUL)
        tab.page.wait_for_timeout(sizes.rest_ms)
        tab.page.evaluate(_ZOOM)
        box = tab.page.locator('[data-figure="loss"] .nsewdrag').first.bounding_box()
        assert box is not None
        left, middle = box["x"] + (0.1 + 0.1 * number) * box["width"], box["y"] + box["height"] / 2
        tab.page.mouse.move(left, middle)
        tab.page.mouse.down()
        tab.page.mouse.move(left + 0.1 * box["width"], middle, steps=4)
        tab.page.mouse.up()
        tab.page.wait_for_function("() => window.__zoomed.done > window.__zoomed.begun")
        tab.page.wait_for_timeout(sizes.rest_ms)
        zoomed = tab.page.evaluate("window.__zoomed")
        times.append(zoomed["done"] - zoomed["begun"])
        tab.close()
    return times


@contextmanager
def _training(served: Served, run: LongRun, started_at: float, seconds_a_step: float) -> Iterator[None]:
    """The run goes on, step by step, in the background."""
    is_over = threading.Event()

    def train() -> None:
        with Connection(served.host) as connection:
            while not is_over.wait(seconds_a_step):
                run.send(connection, 1, started_at)

    trainer = threading.Thread(target=train)
    trainer.start()
    try:
        yield
    finally:
        is_over.set()
        trainer.join()


def _live(
    context: BrowserContext, served: Served, run: LongRun, started_at: float, sizes: Sizes
) -> dict[str, Any]:
    """A page that is left open: what a minute of it costs, and what it holds after many updates."""
    tab, count = _open(context, served, "")
    with _training(served, run, started_at, STEP_SECONDS):
        _until(tab, lambda: count() >= 3)
        begun, work, num_bytes, updates = time.monotonic(), tab.work_seconds(), tab.num_bytes, count()
        tab.page.wait_for_timeout(1000 * sizes.live_seconds)
        minutes = (time.monotonic() - begun) / 60
        updates = count() - updates
        found = {
            "updates_a_minute": round(updates / minutes),
            "bytes_a_minute": round((tab.num_bytes - num_bytes) / minutes),
            "main_thread_ms_an_update": round(1000 * (tab.work_seconds() - work) / max(1, updates), 1),
        }
    tab.close()
    return found | _heap(context, served, run, started_at, sizes)


def _heap(
    context: BrowserContext, served: Served, run: LongRun, started_at: float, sizes: Sizes
) -> dict[str, Any]:
    tab, count = _open(context, served, _FAST_CLOCK)
    with _training(served, run, started_at, STEP_SECONDS / 3):
        _until(tab, lambda: count() >= 20 or sizes.num_updates < 20)
        before, first = tab.heap_bytes(), count()
        _until(tab, lambda: count() - first >= sizes.num_updates)
        after = tab.heap_bytes()
    tab.close()
    return {
        "heap_after_updates": sizes.num_updates,
        "heap_mib_before": round(before / 2**20, 2),
        "heap_mib_after": round(after / 2**20, 2),
        "heap_growth_percent": round(100 * (after / before - 1), 1),
    }


def _open(context: BrowserContext, served: Served, script: str) -> tuple[Tab, Callable[[], int]]:
    """The run's page, and how often it has updated itself: it asks for the newest values once each time."""
    tab, asked = Tab(context, script), [0]

    def note(request: Any) -> None:
        asked[0] += "/runs/long/latest" in request.url

    tab.page.on("request", note)
    tab.open_and_see(f"http://{served.host}/runs/long", FIRST_USEFUL)
    return tab, lambda: asked[0]


def _until(tab: Tab, is_so: Callable[[], bool]) -> None:
    while not is_so():
        tab.page.wait_for_timeout(100)


def _lists(context: BrowserContext, served: Served, sizes: Sizes) -> list[float]:
    with Connection(served.host) as connection:
        for number in range(sizes.num_runs):
            config = {"learning_rate": number * 1e-6, "seed": number % 10}
            connection.declare(f"run-{number}", config=config, tags=["bench"])
            for body in bodies(f"run-{number}", ("loss", "grad_norm"), 20, 1, number):
                connection.append(f"run-{number}", body)
    times = []
    for _ in range(sizes.num_tries):
        tab = Tab(context)
        times.append(_last(tab.open_and_see(f"http://{served.host}/", LISTED)))
        tab.close()
    return times

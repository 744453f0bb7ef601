"""A collector that only pretends: synthetic runs, the contract's answers, the real pages.

It lets the pages be looked at, and be driven by tests, step by step and without training. Run it by
hand with `python tests/dashboards/stand_in.py` and open http://127.0.0.1:8788.
"""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from foreshock.dashboards.figures import COMPARE_FIGURES, RUN_FIGURES
from foreshock.dashboards.figures.gain_map import gain_map
from foreshock.dashboards.figures.loss import loss
from foreshock.dashboards.pages import STATIC_DIR, plotly_bundle, render
from foreshock.dashboards.recording import Recording
from foreshock.wire.readings import AlertMark, GroupSeries, SeedSeries, Window

HOSTILE = (
    '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script> "\'&amp; ünïcode {{7*7}} ${7*7}'
)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
LAYERS = 24
TOTAL = 400


def synthetic(seed: int, *, slope: float, dies_at: int | None) -> Recording:
    """A run whose layers' gains grow by `slope` a step, layer 0 first, and whose loss may become NaN."""
    random = np.random.default_rng(seed)
    steps = np.arange(TOTAL)
    columns: dict[str, tuple[Any, Any]] = {}
    loss = 5.5 * np.exp(-steps / 90) + 1.9 + 0.06 * random.standard_normal(TOTAL)
    loss[random.integers(40, 120)] += 0.9
    lead = np.clip(steps[None, :] - 25 - 6 * np.arange(LAYERS)[:, None], 0, None)
    wobble = 0.006 * random.standard_normal((LAYERS, TOTAL))
    gains = np.exp(slope * lead * (1 + 2.0 * (np.arange(LAYERS) == 0)[:, None]) + wobble)
    backward = np.exp(0.8 * np.log(gains) + 0.004 * random.standard_normal((LAYERS, TOTAL)))
    worst_token = 1 + (gains - 1) * 1.6
    prefix, suffix = np.cumprod(gains, axis=0), np.cumprod(backward[::-1], axis=0)[::-1]
    norm = 0.9 + 0.4 * np.abs(random.standard_normal(TOTAL)) + 0.02 * prefix[-1].clip(max=500)
    headroom = 12 - np.log2(prefix.max(axis=0))
    if dies_at is not None:
        for array in (loss, norm, headroom):
            array[dies_at:] = np.nan
        norm[dies_at] = np.inf
        for matrix in (gains, backward, prefix, suffix, worst_token):
            matrix[:, dies_at:] = np.nan
    columns["loss"] = (steps, loss)
    columns["learning_rate"] = (steps, 3e-3 * np.minimum(1, steps / 40))
    columns["grad_norm"] = (steps, norm)
    columns["clip_coefficient"] = (steps, np.minimum(1, 1 / norm))
    columns["grad_norm_clipped"] = (steps, np.minimum(1, norm))
    columns["step_seconds"] = (steps, 0.3 + 0.02 * random.standard_exponential(TOTAL))
    columns["headroom_bits"] = (steps, headroom)
    columns["canary_embedding_rms"] = (steps, 1 + 0.002 * steps + 0.01 * random.standard_normal(TOTAL))
    tens = steps[::5]
    for layer in range(LAYERS):
        columns[f"layer_amax_forward_mean[{layer}]"] = (steps, gains[layer])
        columns[f"layer_amax_forward_max[{layer}]"] = (steps, worst_token[layer])
        columns[f"layer_amax_backward_mean[{layer}]"] = (steps, backward[layer])
        columns[f"composite_amax_forward_mean[{layer}]"] = (tens, prefix[layer, ::5])
        columns[f"composite_amax_forward_max[{layer}]"] = (tens, 1.35 * prefix[layer, ::5])
        columns[f"composite_amax_backward_mean[{layer}]"] = (tens, suffix[layer, ::5])
        columns[f"composite_amax_backward_max[{layer}]"] = (tens, 1.3 * suffix[layer, ::5])
        columns[f"layer_row_error_max[{layer}]"] = (steps, np.abs(gains[layer] - 1))
        columns[f"stream_rms[{layer}]"] = (steps, np.sqrt(1 + layer) * prefix[layer] ** 0.5)
        columns[f"stream_max[{layer}]"] = (steps, 9 * np.sqrt(1 + layer) * prefix[layer])
    return Recording(columns)


@dataclass
class Run:
    """One pretended run, `step` steps into its recording."""

    run_id: str
    name: str
    connection: str
    seed: int
    recording: Recording
    step: int = -1
    state: str = "running"
    alerts: list[dict[str, Any]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    started_at: float = field(default_factory=lambda: time.time() - 60)

    def window(self, window: Window) -> Window:
        """The window, ending no later than the run has come."""
        stop = self.step if window.stop is None else min(self.step, window.stop)
        return Window(window.start, stop, window.buckets, window.attempt)

    def reader(self) -> "Reader":
        """What figures read: nothing beyond the present step."""
        return Reader(self)

    def latest(self) -> dict[str, Any]:
        """The newest value of every column."""
        values = {}
        for one in self.recording.series(self.recording.columns(), self.window(Window(buckets=1 << 30))):
            if len(one.last):
                values[one.column] = float(one.last[-1])
        return {"step": self.step, "time": time.time(), "values": values}

    def summary(self) -> dict[str, Any]:
        """The row of the list."""
        values = self.latest()["values"]
        worst = [
            (value, layer)
            for layer in range(LAYERS)
            if (value := values.get(f"composite_amax_forward_mean[{layer}]")) is not None
        ]
        gain, layer = max(worst, default=(None, None), key=lambda pair: (math.isnan(pair[0]), pair[0]))
        last = self.alerts[-1] if self.alerts else None
        return {
            "run_id": self.run_id,
            "project": "depth",
            "name": self.name,
            "group": self.connection,
            "seed": self.seed,
            "tags": self.tags,
            "config": {
                "connection": self.connection,
                "num_streams": 4,
                "precision": "fp16",
                "learning_rate": 3e-3,
                "note": HOSTILE,
                "environment": {"torch": "2.13.0", "cpus": 2},
            },
            "constraint": "doubly_stochastic" if self.connection == "mhc" else "none",
            "total_steps": TOTAL,
            "state": self.state,
            "attempt": 0,
            "started_at": self.started_at,
            "heartbeat_at": time.time(),
            "last_step": self.step,
            "summary": {
                "loss": values.get("loss"),
                "composite_forward": gain,
                "worst_layer": layer,
                "first_critical_step": next(
                    (a["fired_step"] for a in self.alerts if a["severity"] == "critical"), None
                ),
                "headroom_bits": values.get("headroom_bits"),
            },
            "last_alert": last,
            "num_alerts": {"firing": len(self.alerts)},
            "cursors": [],
        }


class Reader:
    """A RunReader over a run that is still going on."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def columns(self) -> tuple[str, ...]:
        return self._run.recording.columns()

    def series(self, columns: tuple[str, ...], window: Window) -> Any:
        return self._run.recording.series(columns, self._run.window(window))

    def layer_map(self, series: str, window: Window) -> Any:
        return self._run.recording.layer_map(series, self._run.window(window))

    def alerts(self) -> list[AlertMark]:
        return [mark(alert) for alert in self._run.alerts]


def mark(alert: dict[str, Any]) -> AlertMark:
    """An alert's row as figures want it."""
    return AlertMark(**{name: alert[name] for name in AlertMark.__dataclass_fields__})


class World:
    """All pretended runs, and the bell that tells pages of news."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.closed = False
        self.away = False

    def add(self, run_id: str, name: str, connection: str, seed: int, **how: Any) -> Run:
        """A new run."""
        slope = 0.0022 * (1 + 0.15 * (1 - seed)) if connection == "hc" else 0.00001 * (1 + seed)
        recording = synthetic(seed, slope=slope, dies_at=how.get("dies_at"))
        run = Run(run_id, name, connection, seed, recording, tags=list(how.get("tags", ())))
        self.runs[run_id] = run
        self.advance(run_id, how.get("step", -1) + 1)
        return run

    def advance(self, run_id: str, steps: int = 1) -> None:
        """Lets a run train on, and rings."""
        run = self.runs[run_id]
        run.step = min(TOTAL - 1, run.step + steps)
        self.events.append(("step", {"run_id": run_id, "step": run.step}))

    def alert(self, run_id: str, rule: str, severity: str, step: int, **more: Any) -> None:
        """Opens an alert, and rings."""
        run = self.runs[run_id]
        alert = {
            "run_id": run_id,
            "alert_id": len(run.alerts) + 1,
            "project": "depth",
            "attempt": 0,
            "rule": rule,
            "claim": "rule",
            "severity": severity,
            "state": "firing",
            "subject": "layer 0",
            "opened_step": step - 8,
            "fired_step": step,
            "resolved_step": None,
            "opened_at": time.time() - 30,
            "updated_at": time.time(),
            "value": 12.4,
            "reason": "Composite Amax rose from 1.3 to 12.4 over 60 steps (trend p < 0.001), passed 10, "
            "and has not turned. No schedule change explains it.",
            "advice": "Save a checkpoint now. Stop, or lower the learning rate, or constrain the mapping.",
            "acknowledged_at": None,
            "acknowledged_by": None,
            "acknowledged_note": None,
            **more,
        }
        run.alerts.append(alert)
        self.events.append(
            ("alert", {"run_id": run_id, "rule": rule, "severity": severity, "state": "firing"})
        )

    def finish(self, run_id: str, state: str = "finished") -> None:
        """Ends a run, and rings."""
        self.runs[run_id].state = state
        self.events.append(("run", {"run_id": run_id, "state": state}))


def full_world() -> World:
    """Two groups of three seeds, one of them named by an enemy, each at its own stage."""
    world = World()
    for seed, dies_at in ((0, None), (1, 190), (2, 231)):
        name = HOSTILE if seed == 2 else f"hc-12-blocks-seed-{seed}"
        world.add(
            f"hc-{seed}",
            name,
            "hc",
            seed,
            dies_at=dies_at,
            step=150 if seed == 0 else dies_at + 20,
            tags=["sweep"],
        )
    for seed in range(3):
        world.add(f"mhc-{seed}", f"mhc-12-blocks-seed-{seed}", "mhc", seed, step=TOTAL - 1 if seed else 180)
    for run_id, at in (("hc-0", 92), ("hc-1", 95), ("hc-2", 90)):
        world.alert(
            run_id,
            "canary_spread",
            "warning",
            at - 22,
            reason="Layer 0 left its band first, 12 layers followed.",
        )
        world.alert(run_id, "exit_amax", "critical", at)
    world.alert(
        "hc-1", "nonfinite", "critical", 190, subject="loss", reason="The loss is NaN.", advice="Go back."
    )
    world.alert("hc-2", "nonfinite", "critical", 231, subject="loss", reason=HOSTILE, advice="Go back.")
    world.finish("hc-1", "crashed")
    world.finish("mhc-1")
    world.finish("mhc-2")
    return world


def worded(value: Any) -> Any:
    """JSON-safe: numbers that are not finite become words."""
    if isinstance(value, dict):
        return {key: worded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [worded(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def groups_of(world: World, column: str) -> list[GroupSeries]:
    """The runs grouped by connection on common steps."""
    found = []
    for key in ("hc", "mhc"):
        runs = [run for run in world.runs.values() if run.connection == key]
        grid = np.arange(0, TOTAL, 5)
        seeds = []
        for run in runs:
            table = run.recording.layer_map(column, run.window(Window(buckets=1 << 30)))
            if table is None:
                one = run.recording.series((column,), run.window(Window(buckets=1 << 30)))[0]
                steps, values = one.first_step, one.last
            else:
                steps, values = table.first_step, table.maximum.max(axis=0)
            at = np.searchsorted(steps, grid)
            known = (at < len(steps)) & (steps[np.minimum(at, len(steps) - 1)] == grid)
            filled = np.where(known, values[np.minimum(at, len(steps) - 1)], np.nan)
            seeds.append(SeedSeries(run.run_id, run.name, run.seed, filled))
        table = np.stack([seed.values for seed in seeds])
        alive = ~np.isnan(table).all(axis=0)
        mean, low, high = (np.full(len(grid), np.nan) for _ in range(3))
        mean[alive], low[alive], high[alive] = (
            how(table[:, alive], axis=0) for how in (np.nanmean, np.nanmin, np.nanmax)
        )
        found.append(GroupSeries(key, grid, mean, low, high, tuple(seeds)))
    return found


def verdict() -> dict[str, Any]:
    """A verdict that cannot decide yet."""
    test = {
        "test": "F test on logs, one-sided",
        "p_value": 0.0021,
        "effect": 41.0,
        "interval": [3.1, 540.0],
        "is_weak": True,
    }
    return {
        "state": "undecided",
        "reasons": ["Amax of all constrained runs stays at 1.03 or less, both ways."],
        "missing": [
            "3 more seeds a group for Brown-Forsythe",
            "a stress test that warned within 10 % of the steps",
        ],
        "tests": {
            "log_peak_gain": test,
            "final_loss": {**test, "p_value": 0.31, "effect": 1.4, "interval": [0.2, 9.5]},
        },
        "groups": [],
    }


def create_app(world: World) -> FastAPI:
    """The pages and the contract's routes over a world."""
    app = FastAPI()

    @app.middleware("http")
    async def headers(request: Request, call_next: Any) -> Any:
        answer = (
            JSONResponse({"title": "away", "detail": ""}, 503) if world.away else await call_next(request)
        )
        answer.headers["Content-Security-Policy"] = POLICY
        answer.headers["Cache-Control"] = "no-cache"
        return answer

    _pages(app)
    _reads(app, world)
    _alerts(app, world)
    _figures(app, world)
    _events(app, world)
    return app


def run_of(world: World, run_id: str) -> Run:
    """The run, or the contract's 404."""
    if run_id not in world.runs:
        raise HTTPException(404, "unknown-run")
    return world.runs[run_id]


def _pages(app: FastAPI) -> None:
    for where, page in (
        ("/", "runs"),
        ("/runs/{run_id}", "run"),
        ("/compare", "compare"),
        ("/alerts", "alerts"),
        ("/login", "login"),
    ):
        app.get(where, response_class=HTMLResponse)(lambda page=page: HTMLResponse(render(page)))
    app.get("/static/plotly.min.js")(lambda: FileResponse(plotly_bundle()))
    app.mount("/static", StaticFiles(directory=STATIC_DIR))


def _reads(app: FastAPI, world: World) -> None:
    @app.exception_handler(HTTPException)
    async def problem(request: Request, error: HTTPException) -> JSONResponse:
        detail = f"There is no run {request.url.path.split('/')[4]!r}; see /api/v1/runs."
        return JSONResponse(
            {"type": f"/problems/{error.detail}", "title": "Unknown run", "status": 404, "detail": detail},
            404,
        )

    @app.get("/api/v1/runs")
    def runs(q: str = "", project: str = "", state: str = "", limit: int = 50) -> JSONResponse:
        found = [run.summary() for run in world.runs.values() if not state or run.state == state]
        found = [row for row in found if q in row["name"] or q == f"connection={row['group']}"]
        found = [row for row in found if not project or row["project"] == project]
        return JSONResponse(worded({"runs": found[:limit], "total": len(found)}))

    @app.get("/api/v1/runs/{run_id}")
    def run(run_id: str) -> JSONResponse:
        run = run_of(world, run_id)
        layers: dict[str, int | None] = {}
        for column in run.recording.columns():
            layers[column.split("[")[0]] = LAYERS if "[" in column else None
        series = [{"series": name, "layers": count} for name, count in layers.items()]
        return JSONResponse(worded({**run.summary(), "series": series, "attempts": [0]}))

    @app.get("/api/v1/runs/{run_id}/latest")
    def latest(run_id: str) -> JSONResponse:
        return JSONResponse(worded(run_of(world, run_id).latest()))

    @app.get("/api/v1/compare")
    def compare(column: str = "loss") -> JSONResponse:
        groups = []
        for group in groups_of(world, column):
            rows = []
            for seed in group.seeds:
                run = world.runs[seed.run_id]
                row = {"run_id": seed.run_id, "name": seed.name, "seed": seed.seed, "state": run.state}
                peak = 4.2 + seed.seed if group.key == "hc" else 0.03
                rows.append({**row, "final_loss": run.latest()["values"].get("loss"), "log_peak_gain": peak})
            groups.append({"key": group.key, "runs": rows})
        return JSONResponse(worded({"groups": groups}))

    app.get("/api/v1/verdict")(verdict)


def _alerts(app: FastAPI, world: World) -> None:
    def found(state: str, severity: str, runs: list[Run]) -> dict[str, Any]:
        rows = [alert for run in runs for alert in run.alerts]
        rows = [row for row in rows if state in ("", row["state"]) and severity in ("", row["severity"])]
        return {"alerts": rows[::-1], "total": len(rows)}

    @app.get("/api/v1/alerts")
    def alerts(state: str = "", severity: str = "") -> dict[str, Any]:
        return found(state, severity, list(world.runs.values()))

    @app.get("/api/v1/runs/{run_id}/alerts")
    def run_alerts(run_id: str) -> dict[str, Any]:
        return found("", "", [run_of(world, run_id)])

    @app.post("/api/v1/alerts/{run_id}/{alert_id}/acknowledge")
    async def acknowledge(run_id: str, alert_id: int, request: Request) -> dict[str, Any]:
        body = await request.json()
        alert = run_of(world, run_id).alerts[alert_id - 1]
        alert |= {
            "acknowledged_at": time.time(),
            "acknowledged_by": body["author"],
            "acknowledged_note": body["note"],
        }
        return alert


def _figures(app: FastAPI, world: World) -> None:
    @app.get("/api/v1/runs/{run_id}/figures/{name}")
    def run_figure(
        run_id: str,
        name: str,
        start: int | None = None,
        stop: int | None = None,
        buckets: int = 500,
        series: str = "",
    ) -> dict[str, Any]:
        window, reader = Window(start, stop, buckets), run_of(world, run_id).reader()
        if name == "gain_map" and series:
            return gain_map(reader, window, series=series)
        if name == "loss":
            return loss(reader, window, log_y=log_y)
        return RUN_FIGURES[name](reader, window)

    @app.get("/api/v1/compare/figures/{name}")
    def compare_figure(name: str, column: str = "loss") -> dict[str, Any]:
        if name == "seeds":
            return COMPARE_FIGURES["seeds"](groups_of(world, column), column)
        marks = {run.name: [mark(alert) for alert in run.alerts] for run in world.runs.values()}
        return COMPARE_FIGURES["timelines"](marks, {run.name: run.step for run in world.runs.values()})


def _events(app: FastAPI, world: World) -> None:
    async def listen(run_id: str | None) -> AsyncIterator[str]:
        heard = len(world.events)
        yield ": hello\n\n"
        while not world.closed and not world.away:
            for kind, data in world.events[heard:]:
                heard += 1
                if run_id in (None, data["run_id"]):
                    yield f"event: {kind}\ndata: {json.dumps(data)}\n\n"
            await asyncio.sleep(0.05)

    @app.get("/api/v1/events")
    async def events(run_id: str | None = None) -> StreamingResponse:
        return StreamingResponse(listen(run_id), media_type="text/event-stream")


async def _train(world: World) -> None:
    while True:
        await asyncio.sleep(0.25)
        for run_id in ("hc-0", "mhc-0"):
            world.advance(run_id)


async def main() -> None:
    """Serves the full world with two runs training."""
    world = full_world()
    config = uvicorn.Config(create_app(world), port=8788, log_level="warning")
    await asyncio.gather(uvicorn.Server(config).serve(), _train(world))


if __name__ == "__main__":
    asyncio.run(main())

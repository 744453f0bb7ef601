"""What drawing a run's figures costs: 50 layers x 20 signals x 100,000 steps, from a cold and a warm cache.

In the collector's process, without HTTP: reading, drawing and writing JSON, on SQLite. Cold is a collector
that has just started and has read nothing of the run; warm is one that has drawn the figure before and
draws it again, as after each new step. The judge stands still, so that nothing is timed beside it; CPU
time is told too, for machines that others use at the same time.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from starlette.testclient import TestClient
from tests.benchmarks.served import gains

from foreshock.dashboards.figures import LAYER_FIGURES, RUN_FIGURES, figures_of, spark
from foreshock.server.app import create_app
from foreshock.server.nonfinite import encode_json
from foreshock.server.settings import Settings
from foreshock.server.store.compactor import Compactor
from foreshock.server.store.engine import writing
from foreshock.server.store.read import StoredRun
from foreshock.server.store.schema import detector_states
from foreshock.server.store.windows import Windows
from foreshock.wire import (
    CONTENT_TYPE,
    WIRE_VERSION,
    Body,
    Layout,
    encode_body,
    encode_record,
    make_batch,
)
from foreshock.wire.readings import Window

NUM_LAYERS = 50
NUM_STEPS = 100_000
STEPS_PER_BATCH = 500
CACHE_BYTES = 256 * 2**20
REPEATS = 5
SCALARS = (
    "loss", "grad_norm", "grad_norm_clipped", "clip_coefficient", "clipped_share", "learning_rate",
    "step_seconds", "probe_seconds", "headroom_bits", "canary_embedding_rms", "update_rms", "adam_rms",
    "log_z_mean", "log_stream_collapse_mean",
)  # fmt: skip
PER_LAYER = (
    "layer_amax_forward_mean", "layer_amax_forward_max", "layer_amax_backward_mean",
    "layer_amax_backward_max", "layer_row_error_max", "layer_column_error_max",
    "composite_amax_forward_mean", "composite_amax_forward_max", "composite_amax_backward_mean",
    "composite_amax_backward_max", "identity_distance_mean", "stream_rms", "stream_max", "norm_input_rms",
    "swiglu_saturation", "max_attention_logit", "router_max_violation", "router_entropy",
    "router_staleness", "router_tear",
)  # fmt: skip


def measure() -> dict[str, Any]:
    """Milliseconds of each figure, cold and warm, and of a whole page of them."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(db=str(Path(folder) / "bench.db"))
        with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as http:
            _fill(http)
            return _timed(http.app.state.collector.engine)  # type: ignore[attr-defined]


def _fill(http: TestClient) -> None:
    """The run, brought into chunks."""
    collector = http.app.state.collector  # type: ignore[attr-defined]
    collector.judge.stop()
    collector.compactor.stop()
    columns = (*SCALARS, *(f"{series}[{layer}]" for series in PER_LAYER for layer in range(NUM_LAYERS)))
    declared = {"run_id": "run-0", "project": "bench", "name": "run-0", "session": "bench"}
    http.post("/api/v1/runs", json=declared).raise_for_status()
    rng, level = np.random.default_rng(0), np.ones(len(columns))
    for number in range(NUM_STEPS // STEPS_PER_BATCH):
        steps = np.arange(STEPS_PER_BATCH) + number * STEPS_PER_BATCH
        records: list[Any] = [] if number else [Layout(0, 0, "step", columns)]
        records.append(
            make_batch(number + 1, 0, steps, 1.7e9 + steps * 0.3, gains(rng, level, STEPS_PER_BATCH))
        )
        encoded = [encode_record(record) for record in records]
        body = encode_body(Body(WIRE_VERSION, "run-0", 0, 0, "bench", 0, encoded))
        answer = http.post("/api/v1/runs/run-0/append", content=body, headers={"Content-Type": CONTENT_TYPE})
        answer.raise_for_status()
    with writing(collector.engine) as connection:
        connection.execute(sa.delete(detector_states))
        judged = {"run_id": "run-0", "attempt": 0, "judged_step": NUM_STEPS - 1, "state": b""}
        connection.execute(sa.insert(detector_states).values(judged))
    while Compactor(collector.engine).run_once():
        pass


def _timed(engine: sa.Engine) -> dict[str, Any]:
    names = [one["name"] for one in figures_of(StoredRun(engine, Windows(CACHE_BYTES), "run-0"))]
    draws: dict[str, Callable[[StoredRun], Any]] = {
        "figures_of": figures_of,
        "spark": spark,
        **{name: lambda run, name=name: RUN_FIGURES[name](run, Window()) for name in names},
        "loss over time, smoothed": lambda run: RUN_FIGURES["loss"](run, Window(), axis="time", smooth=8.0),
        **{
            f"layer: {name}": lambda run, name=name: LAYER_FIGURES[name](run, Window(), 7)
            for name in LAYER_FIGURES
        },
    }
    overview = [name for name in names if RUN_FIGURES[name].overview]
    return {
        "layers": NUM_LAYERS,
        "signals": len(PER_LAYER),
        "steps": NUM_STEPS,
        "each": {name: _one(engine, draw) for name, draw in draws.items()},
        "overview_of": overview,
        "overview": _one(engine, lambda run: [draws[name](run) for name in overview]),
        "all_figures": _one(engine, lambda run: [draws[name](run) for name in names]),
    }


def _one(engine: sa.Engine, draw: Callable[[StoredRun], Any]) -> dict[str, float]:
    windows = Windows(CACHE_BYTES)
    seconds, cpu, size = [], [], 0
    for _ in range(1 + REPEATS):
        begun, busy = time.perf_counter(), time.process_time()
        size = len(encode_json(draw(StoredRun(engine, windows, "run-0"))))
        seconds.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - busy)
    return {
        "cold_ms": round(1000 * seconds[0], 1),
        "cold_cpu_ms": round(1000 * cpu[0], 1),
        "warm_ms": round(1000 * statistics.median(seconds[1:]), 1),
        "warm_cpu_ms": round(1000 * statistics.median(cpu[1:]), 1),
        "kilobytes": round(size / 1000, 1),
    }

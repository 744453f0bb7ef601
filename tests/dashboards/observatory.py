"""A real collector as a process, and trainers that write to it as probes do."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from tests.dashboards.synthetic import COMPOSITE_EVERY, signals

from foreshock.wire import (
    CONTENT_TYPE,
    WIRE_VERSION,
    Body,
    Event,
    Layout,
    Record,
    Tombstone,
    encode_body,
    encode_record,
    make_batch,
)

HOSTILE = (
    '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script> "\'&amp; ünïcode {{7*7}} ${7*7}'
)


class Observatory:
    """`foreshock serve` on a free loopback port; it can be killed and started again on the same one."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self._database = directory / "foreshock.db"
        self._environment = environment
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self.http = httpx.Client(base_url=self.url, timeout=30)
        self.start()

    def start(self) -> None:
        """Starts the collector and waits until it listens."""
        command = "import sys; from foreshock.server.serving import run; "
        command += "sys.exit(run(host=None, port=int(sys.argv[1]), db=sys.argv[2], as_json=True))"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORESHOCK_")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", command, str(self._port), str(self._database)],
            stdout=subprocess.PIPE,
            text=True,
            env={**inherited, **self._environment},
        )
        assert self._process.stdout is not None
        assert json.loads(self._process.stdout.readline())["url"] == self.url

    def kill(self) -> None:
        """Ends the collector without a chance to tidy up."""
        self._process.kill()
        self._process.communicate(timeout=30)

    def close(self) -> None:
        """Ends everything."""
        self.http.close()
        self._process.terminate()
        self._process.communicate(timeout=30)

    def trainer(self, run_id: str, connection: str, seed: int, **said: Any) -> "Trainer":
        """A new run, of the project "depth" unless it is said otherwise."""
        return Trainer(self, run_id, connection, seed, **said)

    def alerts(self, run_id: str, rule: str) -> list[dict[str, Any]]:
        """The run's firing alerts of one rule."""
        query = {"run": run_id, "rule": rule, "state": "firing"}
        found: list[dict[str, Any]] = self.http.get("/api/v1/alerts", params=query).json()["alerts"]
        return found

    def wait_for_alert(self, run_id: str, rule: str) -> dict[str, Any]:
        """The first alert of a rule, once the judge has come to it."""
        for _ in range(300):
            found = self.alerts(run_id, rule)
            if found:
                return found[0]
            time.sleep(0.1)
        raise AssertionError(f"the judge never fired {rule} for {run_id}")


def append(http: httpx.Client, run_id: str, *records: Record, attempt: int = 0) -> None:
    """Sends records as the one probe of a run's attempt does."""
    body = Body(
        version=WIRE_VERSION,
        run_id=run_id,
        rank=0,
        attempt=attempt,
        session=f"{run_id}-{attempt}" if attempt else run_id,
        last_alert=0,
        records=[encode_record(record) for record in records],
    )
    answer = http.post(
        f"/api/v1/runs/{run_id}/append", content=encode_body(body), headers={"Content-Type": CONTENT_TYPE}
    )
    answer.raise_for_status()


class Trainer:
    """One run, written step by step."""

    def __init__(
        self,
        observatory: Observatory,
        run_id: str,
        connection: str,
        seed: int,
        *,
        total: int = 300,
        dies_at: int | None = None,
        name: str | None = None,
        tags: tuple[str, ...] = (),
        layers: bool = True,
        project: str = "depth",
    ) -> None:
        self._http = observatory.http
        self.run_id = run_id
        self._sequence = 0
        self._next_step = 0
        self._started = time.time() - 60
        slope = 0.0042 * (1 + 0.15 * (1 - seed)) if connection == "hc" else 0.0
        self._signals = signals(seed, total, slope=slope, dies_at=dies_at, layers=layers)
        config = {"connection": connection, "num_streams": 4, "precision": "fp16", "note": HOSTILE}
        declaration = {
            "run_id": run_id,
            "project": project,
            "name": name or f"{connection}, 6 blocks, seed {seed}",
            "group": connection,
            "seed": seed,
            "tags": list(tags),
            "config": config,
            "constraint": "doubly_stochastic" if connection == "mhc" else "none",
            "total_steps": total,
            "session": run_id,
            "started_at": self._started,
        }
        self._http.post("/api/v1/runs", json=declaration).raise_for_status()
        self._send(Layout(self._take(), 0, "step", tuple(self._signals.each_step)))
        if self._signals.composite:
            self._send(Layout(self._take(), 1, "composite", tuple(self._signals.composite)))

    def train(self, num_steps: int) -> "Trainer":
        """Sends the next steps, slow streams first, as the probe does."""
        steps = np.arange(self._next_step, self._next_step + num_steps)
        slow = steps[steps % COMPOSITE_EVERY == 0]
        has_slow = len(slow) > 0 and bool(self._signals.composite)
        records = [self._batch(1, slow, self._signals.composite)] if has_slow else []
        self._send(*records, self._batch(0, steps, self._signals.each_step))
        self._next_step += num_steps
        return self

    def lose(self, num_steps: int) -> "Trainer":
        """Trains on, while the spool is full: what these steps measured never arrives."""
        sequence = self._take()
        self._send(Tombstone(sequence, sequence, num_steps, "the spool was full"))
        self._next_step += num_steps
        return self

    def end(self, kind: str = "finished") -> "Trainer":
        """Says that the run is over."""
        self._send(Event(self._take(), self._next_step - 1, time.time(), kind, {}))
        return self

    def _batch(self, layout_id: int, steps: np.ndarray[Any, Any], columns: dict[str, Any]) -> Record:
        values = np.stack([column[steps] for column in columns.values()], axis=1).astype(np.float32)
        times = self._started + 0.3 * steps.astype(np.float64)
        return make_batch(self._take(), layout_id, steps.astype(np.int64), times, values)

    def _take(self) -> int:
        self._sequence += 1
        return self._sequence - 1

    def _send(self, *records: Record) -> None:
        append(self._http, self.run_id, *records)


def populate(observatory: Observatory) -> dict[str, Trainer]:
    """Two groups of three seeds: one dead with a hostile name, one dead, one at risk; three healthy."""
    trainers = {
        "hc-0": observatory.trainer("hc-0", "hc", 0, tags=("sweep",)).train(140),
        "hc-1": observatory.trainer("hc-1", "hc", 1, dies_at=170).train(190).end("crashed"),
        "hc-2": observatory.trainer("hc-2", "hc", 2, dies_at=200, name=HOSTILE).train(215),
        "mhc-0": observatory.trainer("mhc-0", "mhc", 0).train(150),
        "mhc-1": observatory.trainer("mhc-1", "mhc", 1).train(300).end(),
        "mhc-2": observatory.trainer("mhc-2", "mhc", 2).train(300).end(),
    }
    observatory.wait_for_alert("hc-0", "exit_amax")
    observatory.wait_for_alert("hc-2", "nonfinite")
    return trainers

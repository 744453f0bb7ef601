"""A recorded run (a folder of `foreshock scenarios run`, or one cut from it) played into a real collector."""

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tests.dashboards.observatory import Observatory

from foreshock.wire import (
    CONTENT_TYPE,
    WIRE_VERSION,
    Body,
    Event,
    Layout,
    Record,
    encode_body,
    encode_record,
    make_batch,
)

RUNS = Path(__file__).parent / "runs"
_KEYS = ("attempt", "step", "time")
_BODY_STEPS = 64


@dataclass(frozen=True)
class Stream:
    """Columns that were told at the same steps: their names, which rows [rows], values [rows, columns]."""

    columns: tuple[str, ...]
    is_told: NDArray[np.bool_]
    values: NDArray[np.float32]

    @property
    def name(self) -> str:
        """What its layout is called: "step" is the stream by which a run's steps are counted."""
        return "step" if "loss" in self.columns else self.columns[0]


class RecordedRun:
    """One recorded attempt of rank 0; `last_step` is the last that was recorded."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
        table = pq.read_table(folder / "signals.parquet")
        self.steps = table["step"].to_numpy().astype(np.int64)
        self.times = table["time"].to_numpy().astype(np.float64)
        self.last_step = int(self.steps[-1])
        told: dict[bytes, list[str]] = {}
        for name in table.column_names:
            if name not in _KEYS:
                told.setdefault(table[name].is_valid().to_numpy().tobytes(), []).append(name)
        self.streams = [
            Stream(tuple(names), mask, np.stack([table[name].to_numpy() for name in names], axis=1))
            for packed, names in told.items()
            if (mask := np.frombuffer(packed, bool)).any()
        ]

    def play(self, observatory: Observatory, run_id: str = "", **declared: Any) -> str:
        """Sends all of it as its probe did, its last step now, and waits until it is judged; gives the id."""
        run_id = run_id or self.name
        shift = time.time() - float(self.times[-1])
        declaration = {
            **self.manifest["declaration"],
            "run_id": run_id,
            "session": run_id,
            "started_at": float(self.times[0]) + shift,
            **declared,
        }
        observatory.http.post("/api/v1/runs", json=declaration).raise_for_status()
        for records in self._bodies(shift):
            _append(observatory, run_id, records)
        self._wait(observatory, run_id)
        return run_id

    def _bodies(self, shift: float) -> Iterator[list[Record]]:
        """The layouts and a batch of each stream for each stretch of steps, the main stream last; the end."""
        numbers = itertools.count()
        streams = sorted(enumerate(self.streams), key=lambda one: "loss" in one[1].columns)
        yield [Layout(next(numbers), place, one.name, one.columns) for place, one in streams]
        for start in range(0, len(self.steps), _BODY_STEPS):
            stretch = slice(start, start + _BODY_STEPS)
            steps, times = self.steps[stretch], self.times[stretch] + shift
            told = ((place, one.is_told[stretch], one.values[stretch]) for place, one in streams)
            yield [
                make_batch(next(numbers), place, steps[at], times[at], values[at])
                for place, at, values in told
                if at.any()
            ]
        now = float(self.times[-1]) + shift
        ends = self.manifest["events"]
        yield [Event(next(numbers), one["step"], now, one["kind"], one["detail"]) for one in ends]

    def _wait(self, observatory: Observatory, run_id: str) -> None:
        for _ in range(600):
            run = observatory.http.get(f"/api/v1/runs/{run_id}").json()
            if (run.get("summary") or {}).get("step") == self.last_step:
                return
            time.sleep(0.1)
        raise AssertionError(f"the judge never came to step {self.last_step} of {run_id}")


def _append(observatory: Observatory, run_id: str, records: list[Record]) -> None:
    body = Body(
        version=WIRE_VERSION,
        run_id=run_id,
        rank=0,
        attempt=0,
        session=run_id,
        last_alert=0,
        records=[encode_record(one) for one in records],
    )
    headers = {"Content-Type": CONTENT_TYPE}
    answer = observatory.http.post(
        f"/api/v1/runs/{run_id}/append", content=encode_body(body), headers=headers
    )
    answer.raise_for_status()


def recorded_runs() -> list[RecordedRun]:
    """The runs that ship, by name."""
    return [RecordedRun(manifest.parent) for manifest in sorted(RUNS.glob("*/manifest.json"))]

"""A collector that is killed and restarted in the middle of a run loses and doubles nothing."""

import random
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch

from foreshock.probe import attach
from foreshock.probe.host import COLUMNS as HOST_COLUMNS
from foreshock.probe.spool import Spool
from foreshock.reference_models.corpus import Batches, load_domains
from foreshock.reference_models.train import TrainConfig, build_optimizer
from foreshock.reference_models.transformer import ModelConfig, Transformer
from foreshock.wire import Batch, Layout, batch_steps, batch_values, decode_record, is_missing

NUM_STEPS = 120
NUM_KILLS = 4


def recorded(run_directory: str) -> dict[str, dict[int, bytes]]:
    """Every point that a probe wrote, by column and step, as the bytes of its float32."""
    spool = Spool(Path(run_directory) / "rank-0" / "attempt-0")
    points: dict[str, dict[int, bytes]] = {}
    layouts: dict[int, Layout] = {}
    for entry in spool.read(0, 2**40):
        record = decode_record(entry.data)
        if isinstance(record, Layout):
            layouts[record.layout_id] = record
        elif isinstance(record, Batch):
            for name, row in zip(layouts[record.layout_id].columns, batch_values(record), strict=True):
                here = ~is_missing(row)
                steps = batch_steps(record)[here].tolist()
                points.setdefault(name, {}).update(
                    zip(steps, map(np.float32.tobytes, row[here]), strict=True)
                )
    return points


def stored(url: str, run_id: str, columns: list[str]) -> dict[str, dict[int, bytes]]:
    """The same from the collector, through its public door, at full resolution."""
    points: dict[str, dict[int, bytes]] = {}
    for start in range(0, len(columns), 50):
        query = {"column": columns[start : start + 50], "buckets": 5000}
        answer = httpx.get(f"{url}/api/v1/runs/{run_id}/series", params=query).raise_for_status().json()
        assert answer["bucket_width"] == 1
        for series in answer["series"]:
            values = [np.float32(value).tobytes() for value in series["first"]]
            assert series["count"] == [1] * len(values)
            points[series["column"]] = dict(zip(series["first_step"], values, strict=True))
    return points


def test_what_was_sent_is_stored_once_through_every_kill(collector: Any, tmp_path: Path) -> None:
    config = TrainConfig(model=ModelConfig(connection="hc", num_blocks=2, width=32, context=16))
    batches = Batches(load_domains(()), batch_size=2, context=16, seed=0)
    model = Transformer(config.model, seed=0)
    optimizer = build_optimizer(model, config)
    common: dict[str, Any] = {"total_steps": NUM_STEPS, "directory": tmp_path, "budget": None}
    online = attach(model, optimizer, run_id="online", url=collector.url, mode="online", **common)
    witness = attach(model, optimizer, run_id="witness", mode="offline", **common)
    kills = sorted(random.Random(5).sample(range(10, NUM_STEPS - 10), NUM_KILLS))
    for step in range(NUM_STEPS):
        loss = model.loss(batches.draw())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for probe in (online, witness):
            probe.log({"odd": float("nan") if step % 7 else float("inf")})
            probe.step(loss)
        time.sleep(0.02)
        if step in kills:
            collector.end(signal.SIGKILL)
            time.sleep(0.3)
            collector.start()
    online.finish()
    witness.finish()
    assert online.num_dropped_frames == witness.num_dropped_frames == 0

    expected = recorded(witness.spool_directory)
    found = stored(collector.url, "online", sorted(expected))
    # Each probe has a time of its own
    for timed in ("step_seconds", "probe_seconds", *HOST_COLUMNS):
        expected.pop(timed, None), found.pop(timed, None)
    assert found == expected
    assert len(expected["loss"]) == NUM_STEPS

    state = httpx.get(f"{collector.url}/api/v1/runs/online").json()
    assert state["state"] == "finished"
    collector.end()
    with sqlite3.connect(collector.database) as database:
        sequences = [row[0] for row in database.execute("SELECT sequence FROM records ORDER BY sequence")]
        (integrity,) = database.execute("PRAGMA integrity_check").fetchone()
    assert sequences == list(range(len(sequences)))
    assert integrity == "ok"

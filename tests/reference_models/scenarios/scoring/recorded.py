"""Recorded runs without training: losses and signals of one's own choice, in the runner's format."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from foreshock.reference_models.scenarios.record import FORMAT_VERSION, MANIFEST, SIGNALS

STEPS = 1500


def calm(seed: int, num_steps: int = STEPS) -> NDArray[np.float64]:
    """A loss that falls and has noise."""
    steps = np.arange(num_steps)
    noise = 0.02 * np.random.default_rng(seed).standard_normal(num_steps)
    return 2.0 + 2.0 * np.exp(-steps / 300) + noise


def spiked(seed: int, onset: int, num_steps: int = STEPS) -> NDArray[np.float64]:
    """The same with a spike of 15 steps."""
    losses = calm(seed, num_steps)
    losses[onset : onset + 15] += 3.0
    return losses


def record(
    out: Path,
    run_id: str,
    losses: NDArray[np.float64],
    *,
    family: str = "F3",
    expected: str = "endogenous",
    faults: Sequence[Mapping[str, Any]] = (),
    attempts: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    events: Sequence[Mapping[str, Any]] = (),
    **series: Any,
) -> Path:
    """A run's folder; `series` are further columns."""
    folder = out / run_id
    folder.mkdir(parents=True)
    own_steps = np.arange(len(losses)) if steps is None else np.asarray(steps)
    columns = {
        "attempt": np.zeros(len(losses), np.int32) if attempts is None else np.asarray(attempts, np.int32),
        "step": own_steps.astype(np.int64),
        "time": own_steps.astype(np.float64),
        "loss": losses.astype(np.float32),
        **{name: np.asarray(values, np.float32) for name, values in series.items()},
    }
    pq.write_table(pa.table(columns), folder / SIGNALS)
    manifest = {
        "format_version": FORMAT_VERSION,
        "sha256": hashlib.sha256((folder / SIGNALS).read_bytes()).hexdigest(),
        "run_id": run_id,
        "scenario": family.lower(),
        "family": family,
        "class": expected,
        "variant": "",
        "seed": 0,
        "state": "finished",
        "num_steps": max(len(losses), int(own_steps.max()) + 1),
        "events": list(events),
        "declaration": {
            "total_steps": len(losses),
            "constraint": None,
            "config": {"connection": "residual", "faults": "bad_batch@900", "command": family},
        },
        "config": {"model": {"connection": "residual"}, "faults": list(faults)},
        "stress_forks": None,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder

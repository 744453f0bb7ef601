"""What judging costs: microseconds of processor time a step, and bytes of state, by kind of run."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from tests.server.judging.conftest import Trace, hc_dying, hc_flat, mhc, residual

from foreshock.server.detection.block import Block
from foreshock.server.detection.case import Case
from foreshock.server.detection.context import RunContext

NUM_TRIES: Final = 3
# Steps that come at once: a backlog or a replay, and what a second of a fast run brings
CUTS: Final = (1024, 16)
RUNS: Final[dict[str, tuple[Callable[[], Trace], int, str]]] = {
    "healthy mHC, 16 layers": (lambda: mhc(num_steps=3000, num_layers=16, composite_every=1), 3000, "mhc"),
    "HC, high and flat": (lambda: hc_flat(num_steps=1500, num_layers=16), 1500, "hc"),
    "HC that dies, 200 steps": (hc_dying, 200, "hc"),
    "HC that dies, 1500 steps": (hc_dying, 1500, "hc"),
    "loss alone": (lambda: residual(num_steps=5000), 5000, "residual"),
}


def measure() -> dict[str, Any]:
    """Judges each run, in blocks of several lengths, and keeps the best of a few tries."""
    return {
        name: _judged(_as_sent(make().block()), RunContext(total_steps, config={"connection": connection}))
        for name, (make, total_steps, connection) in RUNS.items()
    }


def _judged(block: Block, context: RunContext) -> dict[str, Any]:
    told: dict[str, Any] = {"steps": len(block), "columns": len(block.columns.names)}
    for cut in CUTS:
        seconds = []
        for _ in range(NUM_TRIES):
            case = Case(0, context)
            started = time.process_time()
            for start in range(0, len(block), cut):
                part = block.part(start, start + cut)
                case.advance(part, int(part.steps[-1]))
            seconds.append(time.process_time() - started)
        told[f"us_a_step_by_{cut}"] = round(1e6 * min(seconds) / len(block), 1)
    return told | {"state_bytes": len(case.detector.state()), "stored_bytes": len(case.pack())}


def _as_sent(block: Block) -> Block:
    """The block as it comes from a probe, whose values are float32."""
    return replace(block, values=block.values.astype(np.float32).astype(np.float64))

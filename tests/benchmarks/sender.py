"""Whether the sender steals the GIL from the training thread: in a thread, in a process, or not at all.

A training thread that never leaves Python (the worst case: kernels release the GIL) does a fixed amount of
work a step and logs 500 scalars, in a process of its own beside a real collector. Three ways in turn: only
spooled; delivered by the sender's thread; spooled, and delivered by a second process that reads the spool.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from foreshock.probe import attach
from foreshock.reference_models.collector_process import CollectorProcess
from foreshock.reference_models.observatory import Observatory

NUM_SERIES = 500
NUM_STEPS = 1500
WAYS = ("spooled", "thread", "process")
_WORK = 60_000

_SYNC = """
import sys, time
from foreshock.probe.sync import sync_runs
while True:
    sync_runs([], url=sys.argv[1], directory=sys.argv[2])
    time.sleep(1)
"""


def work() -> int:
    """Some 5 ms of Python that holds the GIL."""
    total = 0
    for number in range(_WORK):
        total += number & 3
    return total


def train(way: str, folder: str, url: str) -> None:
    """Takes the steps of one way, and prints their seconds."""
    torch.set_num_threads(1)
    model = torch.nn.Linear(1, 1)
    if way == "thread":
        probe = attach(model, url=url, directory=folder)
    else:
        probe = attach(model, mode="offline", directory=folder)
    names = [f"layer.{number}.gain" for number in range(NUM_SERIES)]
    seconds = []
    for step in range(NUM_STEPS):
        values = {name: 0.5 * step + place for place, name in enumerate(names)}
        begun = time.perf_counter()
        work()
        probe.log(values)
        probe.step()
        seconds.append(time.perf_counter() - begun)
    probe.finish()
    print("RESULT" + json.dumps(seconds[NUM_STEPS // 5 :]))


def measure_way(way: str) -> list[float]:
    """Seconds of each step, of a training process of its own beside a collector of its own."""
    root = Path(__file__).parents[2]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "collector").mkdir()
        collector = stack.enter_context(CollectorProcess(folder / "collector", 0))
        arguments = [collector.url, str(folder / "spool")]
        if way == "process":
            child = subprocess.Popen([sys.executable, "-c", _SYNC, *arguments], stdout=subprocess.DEVNULL)
            stack.callback(child.wait)
            stack.callback(child.kill)
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.sender", way, str(folder / "spool"), collector.url],
            capture_output=True,
            text=True,
            cwd=root,
            check=True,
        )
        runs = Observatory(collector.url, "default").runs() if way != "spooled" else [None]
        assert runs, f"nothing was delivered: {done.stderr}"
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    seconds: list[float] = json.loads(line.removeprefix("RESULT"))
    return seconds


def measure() -> dict[str, Any]:
    """Mean, median and p99 of a step in each of the three, and ratios to the one that only spools."""
    rounds = [{way: measure_way(way) for way in WAYS} for _ in range(3)]
    # The quietest round of each: what disturbs from outside is no property of any
    best = {way: min((one[way] for one in rounds), key=statistics.mean) for way in WAYS}
    figures = {
        way: {
            "mean_ms": 1e3 * statistics.mean(seconds),
            "median_ms": 1e3 * statistics.median(seconds),
            "p99_ms": 1e3 * sorted(seconds)[int(0.99 * len(seconds))],
        }
        for way, seconds in best.items()
    }
    return {
        "series": NUM_SERIES,
        "steps": NUM_STEPS,
        "cores": len(os.sched_getaffinity(0)),
        "per_step": figures,
        "mean_over_spooled": {
            way: figures[way]["mean_ms"] / figures["spooled"]["mean_ms"] for way in WAYS[1:]
        },
    }


if __name__ == "__main__":
    train(*sys.argv[1:4])

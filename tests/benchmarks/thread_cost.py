"""What 500 scalars a step cost the training thread: foreshock beside four trackers, all offline.

Each tool logs from a process of its own, after 10 ms of other work a step, so that its background
threads have the time they would have in training. Only the logging call is timed. A rival that does not
install beside us (neptune-scale) is run by the interpreter that RIVAL_PYTHON names.
"""

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

NUM_SERIES = 500
NUM_STEPS = 300
WARMUP_STEPS = 30

_CHILD = """
import json, sys, time, statistics
tool, num_series, num_steps, warmup = sys.argv[1], *map(int, sys.argv[2:5])
names = [f"layer.{i}.gain" for i in range(num_series)]
alone = []  # of our own: the call that takes the scalars, without the one that closes the step

if tool == "foreshock":
    import torch
    from foreshock.probe import attach
    probe = attach(torch.nn.Linear(1, 1), mode="offline")
    def log(step, values):
        begun = time.perf_counter()
        probe.log(values)
        alone.append(time.perf_counter() - begun)
        probe.step()
    finish = probe.finish
elif tool == "tensorboard":
    from torch.utils.tensorboard import SummaryWriter
    writer = SummaryWriter("bench")
    def log(step, values):
        for name, value in values.items():
            writer.add_scalar(name, value, step)
    finish = writer.close
elif tool == "neptune-scale":
    from neptune_scale import Run
    run = Run(project="bench/bench", run_id="bench", mode="offline", log_directory=".")
    log = lambda step, values: run.log_metrics(values, step=step)
    finish = run.close
elif tool == "trackio":
    import trackio
    trackio.init(project="bench", name="bench")
    log = lambda step, values: trackio.log(values, step=step)
    finish = trackio.finish
else:
    import wandb
    run = wandb.init(mode="offline", project="bench", settings=wandb.Settings(silent=True))
    log = lambda step, values: run.log(values, step=step)
    finish = run.finish

costs = []
for step in range(num_steps + warmup):
    values = {name: step * 0.5 + i for i, name in enumerate(names)}
    until = time.perf_counter() + 0.01
    while time.perf_counter() < until:
        sum(range(100))
    begun = time.perf_counter()
    log(step, values)
    costs.append(time.perf_counter() - begun)
costs = sorted(costs[warmup:])
finish()
print("RESULT" + json.dumps({
    "median_ms": 1e3 * statistics.median(costs),
    "mean_ms": 1e3 * statistics.mean(costs),
    "p99_ms": 1e3 * costs[int(0.99 * len(costs))],
} | ({"log_alone_median_ms": 1e3 * statistics.median(alone)} if alone else {})))
"""


def _interpreter(tool: str) -> str:
    return os.environ.get("RIVAL_PYTHON", sys.executable) if tool == "neptune-scale" else sys.executable


def measure_tool(tool: str) -> dict[str, float] | str:
    """The figures of one tool, or why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "FORESHOCK_DIR": folder,
            "TRACKIO_DIR": folder,
            "WANDB_DIR": folder,
            "HF_HUB_OFFLINE": "1",
        }
        arguments = [tool, str(NUM_SERIES), str(NUM_STEPS), str(WARMUP_STEPS)]
        done = subprocess.run(
            [_interpreter(tool), "-c", _CHILD, *arguments],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
        )
    for line in done.stdout.splitlines():
        if line.startswith("RESULT"):
            result: dict[str, float] = json.loads(line.removeprefix("RESULT"))
            return result
    return (done.stderr.strip().splitlines() or ["no output"])[-1]


def measure() -> dict[str, Any]:
    """Each tool twice, in turn; the better of the two, and ratios of medians to ours."""
    tools = ("foreshock", "trackio", "wandb", "tensorboard", "neptune-scale")
    rounds = [{tool: measure_tool(tool) for tool in tools} for _ in range(2)]
    best: dict[str, Any] = {}
    for tool in tools:
        figures = [r[tool] for r in rounds if isinstance(r[tool], dict)]
        best[tool] = min(figures, key=lambda f: f["median_ms"]) if figures else rounds[0][tool]
    ours = best["foreshock"]["median_ms"]
    ratios = {t: best[t]["median_ms"] / ours for t in tools[1:] if isinstance(best[t], dict)}
    return {"series": NUM_SERIES, "steps": NUM_STEPS, "per_step": best, "times_foreshock": ratios}

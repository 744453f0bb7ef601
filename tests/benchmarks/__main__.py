"""`make bench`: measures the figures of this folder, prints them, and writes them to results/."""

import argparse
import importlib
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
# Modules of this folder, each with a function `measure`. Imported when run: each has rivals of its own.
BENCHMARKS = (
    "thread_cost", "probe_overhead", "sender", "store", "hyper_connection", "kernels",
    "anticipatory_overhead", "judging", "user_rules", "figures",
)  # fmt: skip
# Those that read what others have trained for hours, and those that need a GPU or a machine to themselves
ON_REQUEST = ("development_split", "on_gpu", "public_traces", "pages")


def measure(name: str) -> dict[str, Any]:
    """Runs the benchmark called `name`."""
    result: dict[str, Any] = importlib.import_module(f"tests.benchmarks.{name}").measure()
    return result


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")),
        platform.processor(),
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip(),
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        default=BENCHMARKS,
        help=f"which to run (all): {', '.join(BENCHMARKS)}; on request: {', '.join(ON_REQUEST)}",
    )
    for name in parser.parse_args().names:
        result = {"machine": machine()} | measure(name)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        module = importlib.import_module(f"tests.benchmarks.{name}")
        if hasattr(module, "page"):
            (RESULTS / f"{name}.md").write_text(module.page(result))
        if hasattr(module, "pictures"):
            for file, picture in module.pictures(result).items():
                (RESULTS / file).write_text(picture)
        print(name, json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

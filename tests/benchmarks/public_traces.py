"""What `foreshock replay` says of public training runs of which little but the loss is known.

Reads a folder that is named by FORESHOCK_TRACES: CSV files, plain or .gz, with the columns `step` and `loss`;
others in it are passed over. Made for the losses of PolyPythia runs
(EleutherAI/pythia, Apache-2.0), called `polypythia_160m_s5.csv.gz` and so on: of these it is known which
jumped, and where. A file that is not known is taken for a healthy run.
"""

import gzip
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

FOLDER: Final = "FORESHOCK_TRACES"
# Where a run was restarted from a wrong state: the loss jumps at this step, without any sign before
JUMPS: Final = {"polypythia_410m_s3": 75_002, "polypythia_410m_s4": 122_002}
WITHIN_STEPS: Final = 2
ROWS_AIM: Final = 150_000
SECONDS_AIM: Final = 10.0


def measure() -> dict[str, Any]:
    """Replays every trace, once without and once with its length declared."""
    if FOLDER not in os.environ:
        sys.exit(f"{FOLDER} is not set: give it a folder of CSV files with the columns step and loss")
    files = [file for file in sorted(Path(os.environ[FOLDER]).expanduser().glob("*.csv*")) if _has_loss(file)]
    traces = [_replayed(file, is_declared) for file in files for is_declared in (False, True)]
    healthy = [one for one in traces if "jump" not in one]
    jumps = [one for one in traces if "jump" in one]
    long = [one for one in traces if one["rows"] >= ROWS_AIM / 2]
    return {
        "aims": {
            "healthy_replays": len(healthy),
            "healthy_replays_with_a_page": [one["trace"] for one in healthy if one["critical"]],
            "jumps": len(jumps),
            "jumps_found_in_time": sum(one["found_after_steps"] in range(WITHIN_STEPS + 1) for one in jumps),
            "most_steps_to_find_a_jump": max((one["found_after_steps"] for one in jumps), default=None),
            f"most_seconds_for_{ROWS_AIM}_rows": max((_scaled(one) for one in long), default=None),
            "seconds_allowed": SECONDS_AIM,
        },
        "traces": traces,
    }


def _has_loss(file: Path) -> bool:
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
        return {"step", "loss"} <= set(lines.readline().strip().split(","))


def _replayed(file: Path, is_declared: bool) -> dict[str, Any]:
    """One trace through the command, as a user would call it; processor time, with its start."""
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
        steps = [int(float(line.split(",", 1)[0])) for line in list(lines)[1:]]
    command = "import typer; from foreshock.server.replay.commands import replay; typer.run(replay)"
    options = ["--total-steps", str(steps[-1])] if is_declared else []
    before = _seconds()
    answer = subprocess.run(
        [sys.executable, "-c", command, str(file), "--json", *options],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = _seconds() - before
    told = [json.loads(line) for line in answer.stdout.splitlines()]
    fired = [one for one in told if one["state"] == "firing"]
    name = file.name.split(".")[0]
    found: dict[str, Any] = {
        "trace": name,
        "total_steps_declared": is_declared,
        "rows": len(steps),
        "seconds": round(seconds, 2),
        "critical": [_said(one) for one in fired if one["severity"] == "critical"],
        "warning": [_said(one) for one in fired if one["severity"] == "warning"],
    }
    if (jump := JUMPS.get(name)) is not None:
        after = [one["step"] - jump for one in fired if one["rule"] == "loss_spike" and one["step"] >= jump]
        found |= {"jump": jump, "found_after_steps": min(after, default=None)}
    return found


def _said(one: dict[str, Any]) -> str:
    return f"{one['rule']} at step {one['step']}"


def _seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _scaled(one: dict[str, Any]) -> float:
    """Seconds that so many rows take, the start of the process among them."""
    return round(float(one["seconds"] * max(1.0, ROWS_AIM / one["rows"])), 2)

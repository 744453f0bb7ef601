"""The same run, shorter, in the pages of TensorBoard and trackio: until a first chart, and what it weighs.

Neither is one of our dependencies: `FORESHOCK_PEERS_PYTHON` names a Python that has both
(`python -m venv /tmp/peers && /tmp/peers/bin/pip install tensorboard trackio`). Each is given all the time it
wants to read what was logged before its page is opened.
"""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.benchmarks.pages.chromium import Tab, Wanted, chromium
from tests.benchmarks.pages.long_run import LongRun
from tests.benchmarks.pages.sizes import Sizes

PYTHON: Final = "FORESHOCK_PEERS_PYTHON"
# Reads columns, steps and values, and logs them as the peer's own manual says
_WRITE_EVENTS: Final = """
import sys
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

held = np.load(sys.argv[1])
names = [str(name) for name in held["names"]]
writer = EventFileWriter(sys.argv[2])
for step, row in zip(held["steps"].tolist(), held["values"].tolist()):
    values = [Summary.Value(tag=name, simple_value=value) for name, value in zip(names, row)]
    writer.add_event(Event(step=step, wall_time=1.7e9 + step, summary=Summary(value=values)))
writer.close()
"""
_LOG_TO_TRACKIO: Final = """
import sys
import numpy as np
from trackio.sqlite_storage import SQLiteStorage

held = np.load(sys.argv[1])
names = [str(name) for name in held["names"]]
for start in range(0, len(held["steps"]), 100):
    part = held["values"][start : start + 100].tolist()
    steps = held["steps"][start : start + 100].tolist()
    SQLiteStorage.bulk_log("bench", "long", [dict(zip(names, row)) for row in part], steps)
"""
_SHOW_TRACKIO: Final = "import trackio; trackio.show('bench', open_browser=False)"
_ADDRESS: Final = re.compile(r"http://(?:127\.0\.0\.1|localhost):\d+\S*")
_CHARTS: Final[dict[str, Wanted]] = {
    "tensorboard": {"chart": ("line-chart canvas, line-chart svg path", False)},
    "trackio": {"chart": (".vega-embed canvas, .vega-embed svg, .js-plotly-plot .main-svg", False)},
}
READ_SECONDS: Final = 20.0


def measure(sizes: Sizes) -> dict[str, Any]:
    """Both peers, or how to have them."""
    python = os.environ.get(PYTHON, "")
    if not Path(python).is_file():
        return {"left_out": f"name a Python that has tensorboard and trackio with {PYTHON}"}
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "run.npz"
        _hold(held, LongRun("long", sizes.num_layers, sizes.num_signals), sizes.num_peer_steps)
        return {
            "steps": sizes.num_peer_steps,
            "tensorboard": _measured("tensorboard", sizes, _tensorboard(python, held, Path(folder))),
            "trackio": _measured("trackio", sizes, _trackio(python, held, Path(folder))),
        }


def _hold(path: Path, run: LongRun, num_steps: int) -> None:
    steps, values = zip(*run.blocks(num_steps), strict=True)
    np.savez(path, names=np.array(run.columns), steps=np.concatenate(steps), values=np.concatenate(values))


@contextmanager
def _tensorboard(python: str, held: Path, folder: Path) -> Iterator[str]:
    subprocess.run([python, "-c", _WRITE_EVENTS, held, folder / "events"], check=True)
    command = [python, "-m", "tensorboard.main", "--logdir", str(folder / "events"), "--port", "0"]
    with _shown([*command, "--host", "127.0.0.1"]) as address:
        yield f"{address}#timeseries"


@contextmanager
def _trackio(python: str, held: Path, folder: Path) -> Iterator[str]:
    environment = os.environ | {"TRACKIO_DIR": str(folder / "trackio"), "PYTHONUNBUFFERED": "1"}
    subprocess.run([python, "-c", _LOG_TO_TRACKIO, held], check=True, env=environment)
    with _shown([python, "-c", _SHOW_TRACKIO], environment) as address:
        yield address


@contextmanager
def _shown(command: Sequence[str], environment: dict[str, str] | None = None) -> Iterator[str]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if found := _ADDRESS.search(line):
                time.sleep(READ_SECONDS)
                yield found[0]
                return
        raise RuntimeError(f"{command[:3]} gave no address:\n{said}")
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def _measured(name: str, sizes: Sizes, shown: Any) -> dict[str, Any]:
    with shown as address, tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as context:
        times, weights = [], []
        for _ in range(1 + sizes.num_tries):
            tab = Tab(context)
            times.append(tab.open_and_see(address, _CHARTS[name])["chart"])
            weights.append(tab.num_bytes)
            tab.close()
    return {
        "first_chart_cold_ms": round(times[0]),
        "first_chart_warm_ms": round(sorted(times[1:])[len(times[1:]) // 2]),
        "bytes_cold": weights[0],
        "bytes_warm": sorted(weights[1:])[len(weights[1:]) // 2],
    }

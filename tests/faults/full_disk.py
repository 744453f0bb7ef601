"""A file system that is full, and has space again: answers 507 with Retry-After, and nothing is forgotten.

The file system is a real one, a small tmpfs; to mount it takes root.
"""

import errno
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.faults.check import check, check_frames
from tests.faults.collector import Collector
from tests.faults.load import Load, make_load
from tests.faults.outcome import Harm, NotHereError

NAME: Final = "disk full"
NUM_TRIALS: Final = 10
NUM_STEPS: Final = 4800
# More than the write-ahead log grows to before it is folded into the file: 1,000 pages of 32 KiB
DISK_BYTES: Final = 96 * 2**20
# For how long there is no space, and then space, at most
MAX_SECONDS: Final = 1.5


def strike(folder: Path, num_trials: int, num_steps: int) -> tuple[Harm, str]:
    """Fills the disk `num_trials` times."""
    chance, harm = random.Random(), Harm()
    disk = folder / "disk"
    with _mounted(disk), Collector(folder, str(disk / "full.db")) as collector:
        load = Load(collector.url, make_load(num_steps), seconds=num_trials * MAX_SECONDS)
        load.start()
        for _ in range(num_trials):
            time.sleep(chance.uniform(0.02, MAX_SECONDS))
            before = load.num_full
            _fill(disk / "ballast")
            # What is stored before the log has grown to the end of the disk still finds room in it
            _wait_for_refusal(load, before)
            time.sleep(chance.uniform(0, MAX_SECONDS))
            harm += check_frames(collector.url, load.logs, load.acknowledged())
            (disk / "ballast").unlink()
        load.join()
        harm += check(collector, load)
    return harm, f"{load.num_full} requests answered with 507"


def _wait_for_refusal(load: Load, before: int) -> None:
    deadline = time.monotonic() + 10
    while load.num_full == before and load.is_running and time.monotonic() < deadline:
        time.sleep(0.01)


def _fill(path: Path) -> None:
    """Takes all the space that there is, down to the last byte."""
    with path.open("wb", buffering=0) as ballast:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


@contextmanager
def _mounted(path: Path) -> Iterator[None]:
    path.mkdir()
    if os.geteuid() != 0:
        raise NotHereError("to mount a small file system takes root")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "foreshock-faults", str(path)]
    if (status := subprocess.run(mount, capture_output=True, text=True)).returncode:
        raise NotHereError(f"no file system can be mounted here: {status.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)

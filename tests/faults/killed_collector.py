"""SIGKILL of a collector on SQLite at random moments under load, each time started again on the same file."""

import random
import time
from pathlib import Path
from typing import Final

from tests.faults.check import check, check_frames, num_windows, open_engine
from tests.faults.collector import Collector
from tests.faults.load import Load, make_load
from tests.faults.outcome import Harm

NAME: Final = "collector killed"
NUM_TRIALS: Final = 50
# Kills of one load, on one file
KILLS_PER_LOAD: Final = 10
NUM_STEPS: Final = 4800
# From one start to the next kill, at most
MAX_SECONDS: Final = 1.5


def strike(folder: Path, num_trials: int, num_steps: int) -> tuple[Harm, str]:
    """Kills `num_trials` times."""
    chance, harm, num_again, windows = random.Random(), Harm(), 0, 0
    for first in range(0, num_trials, KILLS_PER_LOAD):
        num_kills = min(KILLS_PER_LOAD, num_trials - first)
        with Collector(folder, str(folder / f"killed-{first}.db")) as collector:
            load = Load(collector.url, make_load(num_steps), seconds=num_kills * MAX_SECONDS)
            load.start()
            for _ in range(num_kills):
                time.sleep(chance.uniform(0.02, MAX_SECONDS))
                collector.kill()
                acknowledged = load.acknowledged()
                collector.start()
                harm += check_frames(collector.url, load.logs, acknowledged)
            load.join()
            harm += check(collector, load)
            num_again += load.num_tries_again
            with open_engine(collector.database) as engine:
                windows += num_windows(engine)
    return harm, f"{num_again} requests sent again, {windows} windows in chunks"
